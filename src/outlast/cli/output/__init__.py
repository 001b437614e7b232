"""What commands print: tables, JSON, and values as people read them."""
