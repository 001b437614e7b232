"""The survival proof: worker processes are killed at random while jobs run; a ledger and its checker judge the rest."""
