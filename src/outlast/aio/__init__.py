"""Asyncio tools without a word of the domain."""
