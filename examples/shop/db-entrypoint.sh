#!/bin/sh
# As official database images do it: root only to give the data directory away.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
if [ "$(id -u)" = 0 ]; then
    chown postgres:postgres /data
    chmod 700 /data
    exec setpriv --reuid postgres --regid postgres --init-groups "$0"
fi
[ -s /data/PG_VERSION ] || "$bin/initdb" -D /data -A trust --no-sync >/dev/null
exec "$bin/postgres" -D /data -c listen_addresses='*' -c hba_file=/shop/pg_hba.conf -c unix_socket_directories=/data -c fsync=off
