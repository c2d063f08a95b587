"""Option files: what each key may be, reading and checking them, the JSON schema made from that."""
