"""nginx: proxy_cache on disk, which the page cache holds, one worker, buffered access log, cache lock against stampedes."""

import resource

from benchmarks.peers.peer import Place, said_by

WANTED_FILES = 131_072

CONFIG = """
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log {folder}/access.log combined buffer=64k flush=1s;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 75s;
    keepalive_requests 100000000;
    open_file_cache max={kept_open} inactive=60s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=edge:64m max_size=4g inactive=1d use_temp_path=off;
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        listen 127.0.0.1:{tls_port} ssl http2 backlog=1024;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:10m;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_cache edge;
            proxy_cache_lock on;
            proxy_cache_lock_timeout 30s;
            proxy_cache_lock_age 30s;
        }}
    }}
}}
"""


def open_files_allowed() -> int:
    """How many files nginx may have open here; raise `ulimit -Hn` to give it more.

    Half of them go to its cache of open files. With a cache larger than the limit `accept` starves: nginx then answers 500, or
    not at all.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)


class Nginx:
    name = "nginx"
    binary = "nginx"
    package = "nginx-light"

    def version(self) -> str:
        return said_by("nginx", "-v").partition(": ")[2]

    def lacks(self, scenario: str) -> str | None:
        return None

    def command(self, place: Place) -> list[str]:
        config, identity = place.folder / "nginx.conf", place.identity
        files = open_files_allowed()
        text = CONFIG.format(
            folder=place.folder,
            port=place.port,
            tls_port=place.tls_port,
            origin=place.origin,
            chain=identity.chain,
            key=identity.key,
            files=files,
            kept_open=files // 2,
        )
        config.write_text(text, encoding="utf-8")
        return ["nginx", "-c", str(config), "-p", str(place.folder)]
