"""Gowalla's visits (LightGCN's split): the towers alone, and rivals, by one protocol."""
