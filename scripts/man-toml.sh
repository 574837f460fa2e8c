#!/usr/bin/env bash
# Writes docs/man/rfm.toml.5 from config/rfm.toml, which shows every key, its default and what it is for.
#
#   scripts/man-toml.sh [FILE]      - for standard output
# SPDX-License-Identifier: AGPL-3.0-only
set -euo pipefail
cd "$(dirname "$0")/.."

write() {
    cat <<'HEAD'
.\" Written by scripts/man-toml.sh from config/rfm.toml: change that.
.\" SPDX-License-Identifier: AGPL-3.0-only
.Dd November 25, 2026
.Dt RFM.TOML 5
.Os
.Sh NAME
.Nm rfm.toml
.Nd configuration of rfm, the Router Flow Monitor
.Sh SYNOPSIS
.Pa /etc/rfm/rfm.toml
.Sh DESCRIPTION
The file is TOML.
Its keys stand below their section; the value is the default, or an example
where a key has none.
Unknown keys are errors that name the line and the nearest known key.
.Ic rfm --check
tells what is in effect, and what is wrong.
Durations are written
.Qq 30s ,
.Qq 5m ,
.Qq 1h30m .
A file may have at most 1 MiB.
.Pp
SIGHUP and
.Ic rfm reload
make a running agent read it again; what takes a restart is named.
.Sh KEYS
HEAD
    awk '
    function escape(text) {
        gsub(/\\/, "\\e", text)
        gsub(/-/, "\\-", text)
        if (text ~ /^[.\x27]/) text = "\\&" text
        return text
    }
    function fold(text,    words, count, line, i) {
        count = split(text, words, " ")
        line = ""
        for (i = 1; i <= count; i++) {
            if (line != "" && length(line) + length(words[i]) > 75) {
                print escape(line)
                line = ""
            }
            line = line (line == "" ? "" : " ") words[i]
        }
        print escape(line)
    }
    # each sentence begins on a line of its own
    function sentences(text) {
        while (match(text, /[.;] [A-Z]/)) {
            fold(substr(text, 1, RSTART))
            text = substr(text, RSTART + 2)
        }
        fold(text)
    }
    function end_list() { if (open) print ".El"; open = 0 }
    /^# / || /^#$/ { said = said (said == "" ? "" : " ") substr($0, 3); next }
    /^$/ { if (!started) said = ""; next }
    /^#?\[/ {
        started = 1
        end_list()
        sub(/^#/, "")
        each = /^\[\[/ ? "each " : ""
        gsub(/[][]/, "")
        print ".Ss " each $0
        if (said != "") sentences(said)
        said = ""
        next
    }
    /^#?[a-z_-]+ = / {
        sub(/^#/, "")
        if (!open) print ".Bl -tag -width Ds"
        open = 1
        at = index($0, " = ")
        value = substr($0, at + 3)
        gsub(/"/, "\\(dq", value)
        gsub(/-/, "\\-", value)
        print ".It Ic " escape(substr($0, 1, at - 1)) " No = " value
        if (said != "") sentences(said)
        said = ""
    }
    END { end_list() }
    ' config/rfm.toml
    cat <<'TAIL'
.Sh FILES
.Bl -tag -width Ds
.It Pa /etc/rfm/rfm.toml
where it is looked for, unless
.Fl -config
says otherwise
.El
.Sh SEE ALSO
.Xr rfm 8
TAIL
}

out=${1:-docs/man/rfm.toml.5}
if [ "$out" = - ]; then write; else write >"$out"; fi
