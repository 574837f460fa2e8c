# bash completion for rfm
# SPDX-License-Identifier: AGPL-3.0-only
# Made from src/args.rs by `make generate`: do not edit.

_rfm() {
    local current=${COMP_WORDS[COMP_CWORD]} command=rfm option="" before="" word words="" begun=""
    local -i positionals=0
    COMPREPLY=()

    # what the words before the current one are
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [ -n "$option" ]; then
            option=""
            continue
        fi
        case "$command $word" in
        "rfm status" | "rfm flows" | "rfm top" | "rfm paths" | "rfm history" | "rfm bill" | "rfm rib" | "rfm lookup" | "rfm set" | "rfm reload" | "rfm firewall" | "rfm firewall add" | "rfm firewall del" | "rfm firewall list" | "rfm firewall flush" | "rfm firewall stats" | "rfm firewall load") command+=" $word" ;;
        *" --config" | *" --check-database" | *" --socket" | *" --sort" | *" --limit" | *" --interface" | *" --direction" | *" --protocol" | *" --address" | *" --src" | *" --dst" | *" --port" | *" --src-port" | *" --dst-port" | *" --asn" | *" --src-asn" | *" --dst-asn" | *" --by" | *" --via" | *" --origin" | *" --peer" | *" --what-if" | *" --tz" | *" --month" | *" --prefix" | *" --peer-asn" | *" --overhead" | *" --samples" | *" --vrf" | *" --dport" | *" --action" | *" --rate" | *" --per" | *" --ttl") option=$word ;;
        *" -"*) ;;
        *)
            positionals+=1
            before=$word
            ;;
        esac
    done

    if [ -n "$option" ]; then
        case "$command $option" in
        *" --config" | *" --check-database" | *" --socket" | *" --samples") words=@files ;;
        "rfm flows --sort") words="bytes packets rate last duration" ;;
        "rfm top --sort") words="bytes packets rate" ;;
        *" --interface" | *" --prefix" | *" --vrf") words=$(cd /sys/class/net 2>/dev/null && echo *) ;;
        *" --direction") words="ingress egress" ;;
        *" --protocol") words="icmp igmp tcp udp dccp gre esp ah icmpv6 ospf sctp udplite" ;;
        *" --by") words="@list ifname direction proto src_asn dst_asn src_city dst_city src_country dst_country src_peer_asn dst_peer_asn peer_asn src_net dst_net vlan src_community dst_community src_rpki dst_rpki src dst src_port dst_port" ;;
        *" --action") words="drop pass count limit" ;;
        *" --per") words="rule source" ;;
        esac
    else
        case "$command $positionals $before" in
        "rfm set 0 "*) words="bpf.sample_rate log_level" ;;
        "rfm set 1 log_level") words="off error warn info debug trace" ;;
        "rfm firewall del "*) words=$(rfm firewall list 2>/dev/null | awk '$2 == "runtime" { print $1 }') ;;
        "rfm firewall load 0 "*) words=@files ;;
        esac
        case "$command" in
        "rfm") words+=" status flows top paths history bill rib lookup set reload firewall --help --config --check --check-kernel --check-database --detach --version " ;;
        "rfm status") words+=" --help --json --socket --config " ;;
        "rfm flows") words+=" --help --sort --limit --interface --direction --protocol --address --src --dst --port --src-port --dst-port --asn --src-asn --dst-asn --json --socket --config " ;;
        "rfm top") words+=" --help --by --sort --once --limit --interface --direction --protocol --address --src --dst --port --src-port --dst-port --asn --src-asn --dst-asn --json --socket --config " ;;
        "rfm paths") words+=" --help --via --origin --peer --history --what-if --limit --json --socket --config " ;;
        "rfm history") words+=" --help --by --interface --direction --limit --tz --csv --json --socket --config " ;;
        "rfm bill") words+=" --help --month --tz --interface --prefix --asn --peer-asn --overhead --samples --export --csv --json --socket --config " ;;
        "rfm rib") words+=" --help --vrf --json --socket --config " ;;
        "rfm lookup") words+=" --help --vrf --json --socket --config " ;;
        "rfm set") words+=" --help --json --socket --config " ;;
        "rfm reload") words+=" --help --json --socket --config " ;;
        "rfm firewall") words+=" add del list flush stats load --help " ;;
        "rfm firewall add") words+=" --help --src --dst --protocol --dport --interface --action --rate --per --ttl --force --json --socket --config " ;;
        "rfm firewall del") words+=" --help --force --json --socket --config " ;;
        "rfm firewall list") words+=" --help --all --json --socket --config " ;;
        "rfm firewall flush") words+=" --help --force --json --socket --config " ;;
        "rfm firewall stats") words+=" --help --json --socket --config " ;;
        "rfm firewall load") words+=" --help --replace --force --json --socket --config " ;;
        esac
    fi

    case $words in
    @files*)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        [[ $current != -* ]] && return
        ;;
    @list*)
        begun=${current%"${current##*,}"}
        current=${current##*,}
        ;;
    esac
    words=${words#@files}
    words=${words#@list}
    mapfile -t COMPREPLY < <(compgen -P "$begun" -W "$words" -- "$current")
}

complete -F _rfm rfm
