# bash completion for rfm
# SPDX-License-Identifier: AGPL-3.0-only

_rfm() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local commands="status flows top rib lookup set reload firewall"
    local common="--json --socket --config --help"
    local choose="--limit --interface --direction --protocol --address --src --dst --port --src-port
        --dst-port --asn --src-asn --dst-asn --sort"
    local command="" word words=""
    COMPREPLY=()

    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case " $commands " in *" $word "*) command=$word && break ;; esac
    done

    case $before in
    --config | --socket)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --direction) words="ingress egress" ;;
    --protocol) words="tcp udp icmp icmp6 sctp gre esp" ;;
    --proto) words="tcp udp icmp icmpv6 sctp gre esp" ;;
    --action) words="drop pass count limit" ;;
    --interface | --vrf) words=$(cd /sys/class/net 2>/dev/null && echo *) ;;
    --by) words="src dst src_port dst_port ifname direction proto src_asn dst_asn src_city dst_city
        src_country dst_country src_peer_asn dst_peer_asn src_net dst_net vlan" ;;
    --sort)
        words="bytes packets rate"
        [ "$command" = flows ] && words+=" last duration"
        ;;
    set) words="bpf.sample_rate log_level" ;;
    firewall) words="add del list flush stats load --help" ;;
    load)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    log_level) words="off error warn info debug trace" ;;
    *)
        case $command in
        "") words="$commands --config --check --detach --version --help" ;;
        flows) words="$choose $common" ;;
        top) words="--by --once $choose $common" ;;
        rib | lookup) words="--vrf $common" ;;
        firewall)
            case " ${COMP_WORDS[*]} " in
            *" add "*) words="--src --dst --proto --dport --interface --action --rate --per --ttl --force $common" ;;
            *" del "* | *" flush "*) words="--force $common" ;;
            *" load "*) words="--replace --force $common" ;;
            *) words=$common ;;
            esac
            ;;
        *) words=$common ;;
        esac
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _rfm rfm
