"""Signing in to servers by OAuth: the sign-in itself, where its tokens are kept, and how sessions use them."""
