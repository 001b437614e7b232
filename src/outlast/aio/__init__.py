"""Asyncio tools that know nothing about jobs."""
