"""The HTTP API `/v1`: Starlette routes, one file a topic, served by anycorn on trio.

`openapi.json` beside this file is the document of the API; a contract test holds the
routes to it.
"""
