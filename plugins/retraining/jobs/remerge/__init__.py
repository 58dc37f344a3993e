"""Merging landed files a second time: to prove the data set by a rebuild, or to bring it under another contract."""
