"""A page of our own on which people answer: no accounts, a name and a link."""
