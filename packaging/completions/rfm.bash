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
        "rfm status" | "rfm flows" | "rfm top" | "rfm paths" | "rfm history" | "rfm bill" | "rfm rib" | "rfm lookup" | "rfm set" | "rfm reload" | "rfm firewall" | "rfm firewall add" | "rfm firewall del" | "rfm firewall list" | "rfm firewall flush" | "rfm firewall stats" | "rfm firewall load" | "rfm guard" | "rfm guard list" | "rfm guard show" | "rfm guard stop" | "rfm guard allow" | "rfm guard watch") command+=" $word" ;;
        *" --config" | *" --set" | *" --check-database" | *" --socket" | *" --sort" | *" --limit" | *" --interface" | *" --direction" | *" --protocol" | *" --address" | *" --src" | *" --dst" | *" --port" | *" --src-port" | *" --dst-port" | *" --asn" | *" --src-asn" | *" --dst-asn" | *" --by" | *" --via" | *" --origin" | *" --peer" | *" --what-if" | *" --tz" | *" --month" | *" --prefix" | *" --peer-asn" | *" --overhead" | *" --samples" | *" --vrf" | *" --sport" | *" --dport" | *" --tcp-flags" | *" --icmp-type" | *" --icmp-code" | *" --length" | *" --fragment" | *" --dscp" | *" --flow-label" | *" --action" | *" --rate" | *" --burst" | *" --per" | *" --ttl" | *" --after" | *" --exec" | *" --timeout") option=$word ;;
        *" -"*) ;;
        *)
            positionals+=1
            before=$word
            ;;
        esac
    done

    if [ -n "$option" ]; then
        case "$command $option" in
        *" --config" | *" --check-database" | *" --socket" | *" --samples" | *" --exec") words=@files ;;
        *" --set") words="@keys agent.interfaces= agent.exclude_interfaces= agent.require_interface= agent.directions= agent.interface= agent.bpf.sample_rate= agent.bpf.ring_buf_size= agent.bpf.wakeup_batch= agent.bpf.iface_stats_size= agent.bpf.position= agent.bpf.flow_cache= agent.collector.max_flows= agent.collector.eviction_timeout= agent.collector.active_timeout= agent.collector.paths= agent.prometheus.host= agent.prometheus.port= agent.prometheus.allow= agent.prometheus.web_config= agent.prometheus.open_health= agent.prometheus.flow_gauges= agent.prometheus.labels= agent.prometheus.max_series= agent.prometheus.series_ttl= agent.prometheus.peer_series= agent.prometheus.transit_series= agent.prometheus.p95_series= agent.prometheus.page= agent.prometheus.dashboard= agent.ipfix.host= agent.ipfix.port= agent.ipfix.template_refresh= agent.ipfix.observation_domain_id= agent.ipfix.directions= agent.ipfix.prev_adjacent= agent.ipfix.enterprise_number= agent.ipfix.bind.host= agent.ipfix.bind.port= agent.ipfix.collector= agent.history.path= agent.history.max_size= agent.history.conversations= agent.history.sync_interval= agent.privacy.addresses= agent.enrich.mmdb.asn_db= agent.enrich.mmdb.city_db= agent.enrich.rib.local_asn= agent.enrich.rib.communities= agent.enrich.rib.bmp.host= agent.enrich.rib.bmp.port= agent.enrich.rib.bmp.allow= agent.enrich.rib.bmp.max_sessions= agent.enrich.rib.bmp.max_routes= agent.enrich.rib.bmp.stale_time= agent.enrich.rib.vrf= agent.enrich.rpki.vrps= agent.enrich.rpki.rtr= agent.enrich.source_check.mode= agent.enrich.source_check.bogons= agent.enrich.prefix= agent.enrich.peer= agent.control.socket= agent.control.mode= agent.control.group= agent.control.write_group= agent.firewall.enabled= agent.firewall.interfaces= agent.firewall.allow= agent.firewall.allow_own= agent.firewall.pin= agent.firewall.state_file= agent.firewall.blackhole_communities= agent.firewall.blackhole_within= agent.firewall.blackhole_peers= agent.firewall.blackhole_min_length= agent.firewall.blackhole_max= agent.firewall.blackhole_action= agent.firewall.rule= agent.guard.enabled= agent.guard.mode= agent.guard.protect= agent.guard.action= agent.guard.ttl= agent.guard.max_rules= agent.guard.baseline= agent.guard.baseline_factor= agent.guard.baseline_file= agent.guard.pcap= agent.guard.pcap_dir= agent.guard.pcap_files= agent.guard.host_packets= agent.guard.host_bits= agent.guard.host_new_flows= agent.guard.host_syn= agent.guard.host_fragments= agent.guard.prefix_packets= agent.guard.prefix_bits= agent.guard.prefix_new_flows= agent.guard.prefix_syn= agent.guard.prefix_fragments= agent.guard.threshold= agent.guard.link=" ;;
        "rfm flows --sort") words="bytes packets rate last duration" ;;
        "rfm top --sort") words="bytes packets rate" ;;
        *" --interface" | *" --prefix" | *" --vrf") words=$(cd /sys/class/net 2>/dev/null && echo *) ;;
        *" --direction") words="ingress egress" ;;
        *" --protocol") words="icmp igmp tcp udp dccp gre esp ah icmpv6 ospf sctp udplite" ;;
        *" --by") words="@list ifname direction proto src_asn dst_asn src_city dst_city src_country dst_country src_peer_asn dst_peer_asn peer_asn src_net dst_net vlan src_community dst_community src_rpki dst_rpki src dst src_port dst_port" ;;
        *" --tcp-flags") words="syn/syn,ack syn,ack/syn,ack ack/syn,ack rst none/all" ;;
        *" --fragment") words="first later last any none dont-fragment" ;;
        *" --dscp") words="cs0 le cs1 af11 af12 af13 cs2 af21 af22 af23 cs3 af31 af32 af33 cs4 af41 af42 af43 cs5 ef cs6 cs7" ;;
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
        "rfm") words+=" status flows top paths history bill rib lookup set reload firewall guard --help --config --set --check --check-kernel --check-database --detach --version " ;;
        "rfm status") words+=" --help --json --socket --config " ;;
        "rfm flows") words+=" --help --sort --limit --interface --direction --protocol --address --src --dst --port --src-port --dst-port --asn --src-asn --dst-asn --json --socket --config " ;;
        "rfm top") words+=" --help --by --sort --once --limit --interface --direction --protocol --address --src --dst --port --src-port --dst-port --asn --src-asn --dst-asn --json --socket --config " ;;
        "rfm paths") words+=" --help --via --origin --peer --history --what-if --limit --json --socket --config " ;;
        "rfm history") words+=" --help --by --interface --direction --address --src --dst --limit --tz --csv --json --socket --config " ;;
        "rfm bill") words+=" --help --month --tz --interface --prefix --asn --peer-asn --overhead --samples --export --csv --json --socket --config " ;;
        "rfm rib") words+=" --help --vrf --json --socket --config " ;;
        "rfm lookup") words+=" --help --vrf --json --socket --config " ;;
        "rfm set") words+=" --help --json --socket --config " ;;
        "rfm reload") words+=" --help --json --socket --config " ;;
        "rfm firewall") words+=" add del list flush stats load --help " ;;
        "rfm firewall add") words+=" --help --src --dst --protocol --sport --dport --port --tcp-flags --icmp-type --icmp-code --length --fragment --dscp --flow-label --interface --action --rate --burst --per --ttl --force --json --socket --config " ;;
        "rfm firewall del") words+=" --help --force --json --socket --config " ;;
        "rfm firewall list") words+=" --help --all --json --socket --config " ;;
        "rfm firewall flush") words+=" --help --force --json --socket --config " ;;
        "rfm firewall stats") words+=" --help --json --socket --config " ;;
        "rfm firewall load") words+=" --help --replace --force --json --socket --config " ;;
        "rfm guard") words+=" list show stop allow watch --help " ;;
        "rfm guard list") words+=" --help --json --socket --config " ;;
        "rfm guard show") words+=" --help --json --socket --config " ;;
        "rfm guard stop") words+=" --help --json --socket --config " ;;
        "rfm guard allow") words+=" --help --json --socket --config " ;;
        "rfm guard watch") words+=" --help --after --exec --timeout --json --socket --config " ;;
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
    @keys*) compopt -o nospace 2>/dev/null ;;
    esac
    words=${words#@files}
    words=${words#@list}
    words=${words#@keys}
    mapfile -t COMPREPLY < <(compgen -P "$begun" -W "$words" -- "$current")
}

complete -F _rfm rfm
