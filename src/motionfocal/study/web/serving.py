"""The server process of a study."""

import uvicorn
from fastapi import FastAPI

from motionfocal.study.web.context import ServerSettings


def server_of(app: FastAPI, settings: ServerSettings, *, host: str, port: int) -> uvicorn.Server:
    """A server for ``app``, which ``run()`` starts; port 0 takes a free one.

    It speaks HTTP: for the world put a proxy with HTTPS before it, and name that proxy in ``settings.proxies``; the
    forwarding headers of anybody else are not believed. Requests are not logged, for addresses hold raters' tokens.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=list(settings.proxies),
            server_header=False,
            access_log=False,
            log_level="warning",
        )
    )
