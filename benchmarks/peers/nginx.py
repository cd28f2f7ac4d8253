"""nginx: proxy_cache on disk, which the page cache holds, one worker, buffered access log, cache lock against stampedes."""

from pathlib import Path

from benchmarks.peers.peer import said_by

CONFIG = """
daemon off;
user root;
worker_processes 1;
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
    open_file_cache max=100000 inactive=60s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/temp;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=edge:64m max_size=4g inactive=1d use_temp_path=off;
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
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


class Nginx:
    name = "nginx"
    binary = "nginx"
    package = "nginx-light"

    def version(self) -> str:
        return said_by("nginx", "-v").partition(": ")[2]

    def command(self, folder: Path, port: int, origin: int) -> list[str]:
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=port, origin=origin), encoding="utf-8")
        return ["nginx", "-c", str(config), "-p", str(folder)]
