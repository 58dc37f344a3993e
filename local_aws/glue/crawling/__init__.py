"""Crawlers: from the bytes of files to tables of the catalog."""
