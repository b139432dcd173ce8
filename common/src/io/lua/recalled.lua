-- KEYS: memory. {token, since}.
return {recall(KEYS[1])}
