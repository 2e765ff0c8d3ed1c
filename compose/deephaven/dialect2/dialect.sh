#!/bin/sh
# Stand-in for Deephaven's proprietary tools, second dialect: what its wrappers share. Sourced.
#
# Other names, flags and argument order over the first dialect's commands, so that a test can show
# that the runbook knows the vendor's spelling from the inventory alone.
# shellcheck disable=SC2034  # FIRST_DIALECT is for the scripts that source this file

FIRST_DIALECT=/usr/illumon/latest/bin

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}
