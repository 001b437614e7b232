"""Connections to servers and files, without a word of jobs: what stores and other tools build on alike."""
