#!/bin/bash
# The shop's own tests: every service does what it is there for.
set -euo pipefail
retry() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "FAIL: $*" >&2; exit 1; }
has() { grep "$1" >/dev/null || { echo "FAIL: no $1" >&2; exit 1; }; }

retry curl -fsS -m 4 http://web/
curl -fsS -m 4 http://web/ | has 'open for business'
curl -fsS -m 4 http://web/status | has 'in stock'

retry psql -h db -U postgres -c 'select 1'
psql -h db -U postgres -Atc 'create table if not exists goods (name text); insert into goods values ($$lamp$$); select name from goods' | has lamp

retry nc -z cache 11211
printf 'set k 0 60 5\r\nhello\r\nget k\r\nquit\r\n' | nc -w 2 cache 11211 | has hello
echo "all tests passed"
