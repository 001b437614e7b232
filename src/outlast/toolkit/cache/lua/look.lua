-- What is there. Returns what `shown` says, with led = 0.
return shown(0)
