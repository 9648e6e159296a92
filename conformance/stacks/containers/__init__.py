"""The container stack: a Docker engine, the images of deploy/images, and (to come) the servers made of them.

The Docker SDK and testcontainers are imported here and nowhere else; `client` wraps the SDK's exceptions.
"""
