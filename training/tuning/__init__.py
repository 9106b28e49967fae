"""Tuning: the retriever's settings searched on the validation window, and nothing later."""
