"""The service: register, release and recognise pictures over HTTP.

One API process with a batcher for searches, worker processes that decode, extract and activate, and
one writer to the store. Installed by ``pip install "activeindex[serve]"``.
"""
