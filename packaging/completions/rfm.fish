# fish completion for rfm
# SPDX-License-Identifier: AGPL-3.0-only
# Made from src/args.rs by `make generate`: do not edit.

# Prints the command that is typed, and its positional arguments, one a line.
function __rfm_words
    set --local command rfm
    set --local positionals
    set --local is_value no
    for word in (commandline -opc)[2..]
        if test $is_value = yes
            set is_value no
            continue
        end
        switch "$command $word"
            case 'rfm status' 'rfm flows' 'rfm top' 'rfm paths' 'rfm history' 'rfm bill' 'rfm rib' 'rfm lookup' 'rfm set' 'rfm reload' 'rfm firewall' 'rfm firewall add' 'rfm firewall del' 'rfm firewall list' 'rfm firewall flush' 'rfm firewall stats' 'rfm firewall load' 'rfm guard' 'rfm guard list' 'rfm guard show' 'rfm guard stop' 'rfm guard allow' 'rfm guard watch'
                set command "$command $word"
            case '* --config' '* --set' '* --check-database' '* --socket' '* --sort' '* --limit' '* --interface' '* --direction' '* --protocol' '* --address' '* --src' '* --dst' '* --port' '* --src-port' '* --dst-port' '* --asn' '* --src-asn' '* --dst-asn' '* --by' '* --via' '* --origin' '* --peer' '* --what-if' '* --tz' '* --month' '* --prefix' '* --peer-asn' '* --overhead' '* --samples' '* --vrf' '* --sport' '* --dport' '* --tcp-flags' '* --icmp-type' '* --icmp-code' '* --length' '* --fragment' '* --dscp' '* --flow-label' '* --action' '* --rate' '* --burst' '* --per' '* --ttl' '* --after' '* --exec' '* --timeout'
                set is_value yes
            case '* -*'
            case '*'
                set --append positionals $word
        end
    end
    printf '%s\n' $command $positionals
end

# Whether one of these commands is typed.
function __rfm_in
    contains -- (__rfm_words)[1] $argv
end

# Whether this command is typed, with so many positional arguments, the last of which is this one.
function __rfm_at --argument-names command count last
    set --local words (__rfm_words)
    test "$words[1]" = "$command"; and test (count $words) -eq (math $count + 1)
    and begin
        test -z "$last"; or test "$words[-1]" = "$last"
    end
end

complete -c rfm -f

complete -c rfm -n "__rfm_at 'rfm' 0" -a status -d 'Shows the state of the agent'
complete -c rfm -n "__rfm_at 'rfm' 0" -a flows -d 'Lists the live flows, the largest first'
complete -c rfm -n "__rfm_at 'rfm' 0" -a top -d 'Shows a live view of interfaces, conversations, networks, hosts, ports and protocols, with the options as its presets'
complete -c rfm -n "__rfm_at 'rfm' 0" -a paths -d 'Shows bytes by AS path since the start of the agent, at most for a day'
complete -c rfm -n "__rfm_at 'rfm' 0" -a history -d 'Shows the traffic of a period, by interface and direction, from the history on disk'
complete -c rfm -n "__rfm_at 'rfm' 0" -a bill -d 'Calculates the 95th percentile of a month, from the exact samples of 5 minutes in the history on disk'
complete -c rfm -n "__rfm_at 'rfm' 0" -a rib -d 'Shows every BGP route for an address or a prefix'
complete -c rfm -n "__rfm_at 'rfm' 0" -a lookup -d 'Shows the labels that flows of an address get'
complete -c rfm -n "__rfm_at 'rfm' 0" -a set -d 'Changes a setting until the next start or reload of the agent'
complete -c rfm -n "__rfm_at 'rfm' 0" -a reload -d 'Makes the agent read its configuration again'
complete -c rfm -n "__rfm_at 'rfm' 0" -a firewall -d 'Shows and changes the rules of the firewall'
complete -c rfm -n "__rfm_at 'rfm' 0" -a guard -d 'Shows attacks'
complete -c rfm -n "__rfm_at 'rfm firewall' 0" -a add -d 'Adds a rule, before those of the configuration'
complete -c rfm -n "__rfm_at 'rfm firewall' 0" -a del -d 'Removes runtime rules'
complete -c rfm -n "__rfm_at 'rfm firewall' 0" -a list -d 'Lists the rules in the order of evaluation, with their counters'
complete -c rfm -n "__rfm_at 'rfm firewall' 0" -a flush -d 'Removes all runtime rules'
complete -c rfm -n "__rfm_at 'rfm firewall' 0" -a stats -d 'Shows the interfaces of the firewall and its drops, with the largest flows dropped in the last seconds'
complete -c rfm -n "__rfm_at 'rfm firewall' 0" -a load -d 'Adds the rules of a file, all or none'
complete -c rfm -n "__rfm_at 'rfm guard' 0" -a list -d 'Lists the attacks in progress and the latest that have ended'
complete -c rfm -n "__rfm_at 'rfm guard' 0" -a show -d 'Shows an attack'
complete -c rfm -n "__rfm_at 'rfm guard' 0" -a stop -d 'Removes the rules of an attack'
complete -c rfm -n "__rfm_at 'rfm guard' 0" -a allow -d 'Removes the rules for a prefix'
complete -c rfm -n "__rfm_at 'rfm guard' 0" -a watch -d 'Prints the events of the guard as they occur, or runs a program for each'
complete -c rfm -l help -d 'display usage information'
complete -c rfm -n "__rfm_in 'rfm'" -l config -r -F -d 'configuration file'
complete -c rfm -n "__rfm_in 'rfm'" -l set -x -a 'agent.interfaces= agent.exclude_interfaces= agent.require_interface= agent.directions= agent.interface= agent.bpf.sample_rate= agent.bpf.ring_buf_size= agent.bpf.wakeup_batch= agent.bpf.iface_stats_size= agent.bpf.position= agent.bpf.flow_cache= agent.collector.max_flows= agent.collector.eviction_timeout= agent.collector.active_timeout= agent.collector.paths= agent.prometheus.host= agent.prometheus.port= agent.prometheus.allow= agent.prometheus.web_config= agent.prometheus.open_health= agent.prometheus.flow_gauges= agent.prometheus.labels= agent.prometheus.max_series= agent.prometheus.series_ttl= agent.prometheus.peer_series= agent.prometheus.transit_series= agent.prometheus.p95_series= agent.prometheus.page= agent.prometheus.dashboard= agent.ipfix.host= agent.ipfix.port= agent.ipfix.template_refresh= agent.ipfix.observation_domain_id= agent.ipfix.directions= agent.ipfix.prev_adjacent= agent.ipfix.enterprise_number= agent.ipfix.bind.host= agent.ipfix.bind.port= agent.ipfix.collector= agent.history.path= agent.history.max_size= agent.history.conversations= agent.history.sync_interval= agent.privacy.addresses= agent.enrich.mmdb.asn_db= agent.enrich.mmdb.city_db= agent.enrich.rib.local_asn= agent.enrich.rib.communities= agent.enrich.rib.bmp.host= agent.enrich.rib.bmp.port= agent.enrich.rib.bmp.allow= agent.enrich.rib.bmp.max_sessions= agent.enrich.rib.bmp.max_routes= agent.enrich.rib.bmp.stale_time= agent.enrich.rib.vrf= agent.enrich.rpki.vrps= agent.enrich.rpki.rtr= agent.enrich.source_check.mode= agent.enrich.source_check.bogons= agent.enrich.prefix= agent.enrich.peer= agent.control.socket= agent.control.mode= agent.control.group= agent.control.write_group= agent.firewall.enabled= agent.firewall.interfaces= agent.firewall.allow= agent.firewall.allow_own= agent.firewall.pin= agent.firewall.state_file= agent.firewall.blackhole_communities= agent.firewall.blackhole_within= agent.firewall.blackhole_peers= agent.firewall.blackhole_min_length= agent.firewall.blackhole_max= agent.firewall.blackhole_action= agent.firewall.rule= agent.guard.enabled= agent.guard.mode= agent.guard.protect= agent.guard.action= agent.guard.ttl= agent.guard.max_rules= agent.guard.baseline= agent.guard.baseline_factor= agent.guard.baseline_file= agent.guard.pcap= agent.guard.pcap_dir= agent.guard.pcap_files= agent.guard.host_packets= agent.guard.host_bits= agent.guard.host_new_flows= agent.guard.host_syn= agent.guard.host_fragments= agent.guard.prefix_packets= agent.guard.prefix_bits= agent.guard.prefix_new_flows= agent.guard.prefix_syn= agent.guard.prefix_fragments= agent.guard.threshold= agent.guard.link=' -d 'set a key, such as agent.bpf.sample_rate=1, in place of the configuration file and of environment variables'
complete -c rfm -n "__rfm_in 'rfm'" -l check -d 'check the configuration and the files it names'
complete -c rfm -n "__rfm_in 'rfm'" -l check-kernel -d 'load every BPF program without attaching it, print what this kernel supports'
complete -c rfm -n "__rfm_in 'rfm'" -l check-database -r -F -d 'read this MMDB database as the agent does, print its type, age, size and a sample'
complete -c rfm -n "__rfm_in 'rfm'" -l detach -d 'remove what a killed agent left on the interfaces'
complete -c rfm -n "__rfm_in 'rfm'" -l version -d 'print the version'
complete -c rfm -n "__rfm_in 'rfm status' 'rfm flows' 'rfm top' 'rfm paths' 'rfm history' 'rfm bill' 'rfm rib' 'rfm lookup' 'rfm set' 'rfm reload' 'rfm firewall add' 'rfm firewall del' 'rfm firewall list' 'rfm firewall flush' 'rfm firewall stats' 'rfm firewall load' 'rfm guard list' 'rfm guard show' 'rfm guard stop' 'rfm guard allow' 'rfm guard watch'" -l json -d 'print the reply as JSON'
complete -c rfm -n "__rfm_in 'rfm status' 'rfm flows' 'rfm top' 'rfm paths' 'rfm history' 'rfm bill' 'rfm rib' 'rfm lookup' 'rfm set' 'rfm reload' 'rfm firewall add' 'rfm firewall del' 'rfm firewall list' 'rfm firewall flush' 'rfm firewall stats' 'rfm firewall load' 'rfm guard list' 'rfm guard show' 'rfm guard stop' 'rfm guard allow' 'rfm guard watch'" -l socket -r -F -d 'socket of the agent'
complete -c rfm -n "__rfm_in 'rfm status' 'rfm flows' 'rfm top' 'rfm paths' 'rfm history' 'rfm bill' 'rfm rib' 'rfm lookup' 'rfm set' 'rfm reload' 'rfm firewall add' 'rfm firewall del' 'rfm firewall list' 'rfm firewall flush' 'rfm firewall stats' 'rfm firewall load' 'rfm guard list' 'rfm guard show' 'rfm guard stop' 'rfm guard allow' 'rfm guard watch'" -l config -r -F -d 'configuration file that names the socket'
complete -c rfm -n "__rfm_in 'rfm flows'" -l sort -x -a 'bytes packets rate last duration' -d 'sort key'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l limit -x -d 'number of lines, from 1 to 1000'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l interface -x -a '(__fish_print_interfaces)' -d 'only flows on this interface'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top' 'rfm history'" -l direction -x -a 'ingress egress' -d 'only this direction'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l protocol -x -a 'icmp igmp tcp udp dccp gre esp ah icmpv6 ospf sctp udplite' -d 'only this protocol'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l address -x -d 'only flows from or to this address or prefix'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l src -x -d 'only flows from this address or prefix'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l dst -x -d 'only flows to this address or prefix'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l port -x -d 'only flows from or to this port'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l src-port -x -d 'only flows from this port'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l dst-port -x -d 'only flows to this port'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l asn -x -d 'only flows from or to an address that this AS originates'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l src-asn -x -d 'only flows from an address that this AS originates'
complete -c rfm -n "__rfm_in 'rfm flows' 'rfm top'" -l dst-asn -x -d 'only flows to an address that this AS originates'
complete -c rfm -n "__rfm_in 'rfm top'" -l by -x -a "(__fish_complete_list , 'string join \n ifname direction proto src_asn dst_asn src_city dst_city src_country dst_country src_peer_asn dst_peer_asn peer_asn src_net dst_net vlan src_community dst_community src_rpki dst_rpki src dst src_port dst_port')" -d 'fields to group by, up to four with commas'
complete -c rfm -n "__rfm_in 'rfm top'" -l sort -x -a 'bytes packets rate' -d 'sort key'
complete -c rfm -n "__rfm_in 'rfm top'" -l once -d 'print once and exit, also in a terminal'
complete -c rfm -n "__rfm_in 'rfm paths'" -l via -x -d 'only paths with this AS on them, at any place'
complete -c rfm -n "__rfm_in 'rfm paths'" -l origin -x -d 'only paths that end at this AS'
complete -c rfm -n "__rfm_in 'rfm paths'" -l peer -x -d 'only paths that begin with this AS, the neighbor'
complete -c rfm -n "__rfm_in 'rfm paths'" -l history -d 'also list the intervals of 5 minutes'
complete -c rfm -n "__rfm_in 'rfm paths'" -l what-if -x -d 'show the traffic of paths with this AS behind the current neighbor, by neighbor'
complete -c rfm -n "__rfm_in 'rfm paths'" -l limit -x -d 'number of paths, from 1 to 1000'
complete -c rfm -n "__rfm_in 'rfm history'" -l by -x -d 'what to divide the traffic by'
complete -c rfm -n "__rfm_in 'rfm history'" -l interface -x -a '(__fish_print_interfaces)' -d 'only this interface'
complete -c rfm -n "__rfm_in 'rfm history'" -l address -x -d 'only conversations from or to this address or prefix'
complete -c rfm -n "__rfm_in 'rfm history'" -l src -x -d 'only conversations from this address or prefix'
complete -c rfm -n "__rfm_in 'rfm history'" -l dst -x -d 'only conversations to this address or prefix'
complete -c rfm -n "__rfm_in 'rfm history'" -l limit -x -d 'number of rows for each interface and direction, from 1 to 1000'
complete -c rfm -n "__rfm_in 'rfm history'" -l tz -x -d 'time zone of the range and the output'
complete -c rfm -n "__rfm_in 'rfm history'" -l csv -d 'print the rows as CSV'
complete -c rfm -n "__rfm_in 'rfm bill'" -l month -x -d 'month, such as 2026-10, or another range as of rfm history'
complete -c rfm -n "__rfm_in 'rfm bill'" -l tz -x -d 'time zone in which the month begins'
complete -c rfm -n "__rfm_in 'rfm bill'" -l interface -x -a '(__fish_print_interfaces)' -d 'interface'
complete -c rfm -n "__rfm_in 'rfm bill'" -l prefix -x -a '(__fish_print_interfaces)' -d 'name of a prefix with bill = true'
complete -c rfm -n "__rfm_in 'rfm bill'" -l asn -x -d 'the traffic from and to this AS, over all interfaces'
complete -c rfm -n "__rfm_in 'rfm bill'" -l peer-asn -x -d 'the traffic from and to this neighbor AS, over all interfaces'
complete -c rfm -n "__rfm_in 'rfm bill'" -l overhead -x -d 'bytes to add to each packet'
complete -c rfm -n "__rfm_in 'rfm bill'" -l samples -r -F -d 'calculate from this file of samples'
complete -c rfm -n "__rfm_in 'rfm bill'" -l export -d 'print the samples as CSV, as --samples reads them'
complete -c rfm -n "__rfm_in 'rfm bill'" -l csv -d 'print the bills as CSV, rates in bits per second'
complete -c rfm -n "__rfm_in 'rfm rib' 'rfm lookup'" -l vrf -x -a '(__fish_print_interfaces)' -d 'use the table of this VRF device'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l src -x -d 'source address or prefix'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l dst -x -d 'destination address or prefix'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l protocol -x -a 'icmp igmp tcp udp dccp gre esp ah icmpv6 ospf sctp udplite' -d 'protocol'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l sport -x -d 'source ports'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l dport -x -d 'destination ports'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l port -x -d 'ports of which one side has one'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l tcp-flags -x -a 'syn/syn,ack syn,ack/syn,ack ack/syn,ack rst none/all' -d 'TCP flags'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l icmp-type -x -d 'ICMP or ICMPv6 types'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l icmp-code -x -d 'ICMP or ICMPv6 codes'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l length -x -d 'lengths of the IP packet with its header'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l fragment -x -a 'first later last any none dont-fragment' -d 'fragment'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l dscp -x -a 'cs0 le cs1 af11 af12 af13 cs2 af21 af22 af23 cs3 af31 af32 af33 cs4 af41 af42 af43 cs5 ef cs6 cs7' -d 'DSCP'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l flow-label -x -d 'IPv6 flow labels'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l interface -x -a '(__fish_print_interfaces)' -d 'interface, or a pattern of interfaces'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l action -x -a 'drop pass count limit' -d 'action'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l rate -x -d 'packets per second that limit passes, or bits per second with a unit'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l burst -x -d 'packets, or bytes for a rate in bits, that pass at once after a pause'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l per -x -a 'rule source' -d 'scope of the rate'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l ttl -x -d 'time after which the rule expires'
complete -c rfm -n "__rfm_in 'rfm firewall add'" -l force -d 'apply even if the rule matches every packet or stops the SSH connection of the caller'
complete -c rfm -n "__rfm_in 'rfm firewall del' 'rfm firewall flush'" -l force -d 'apply even if that stops the SSH connection of the caller'
complete -c rfm -n "__rfm_in 'rfm firewall list'" -l all -d 'also list the allow list, whose packets pass before all rules'
complete -c rfm -n "__rfm_in 'rfm firewall load'" -l replace -d 'replace all runtime rules'
complete -c rfm -n "__rfm_in 'rfm firewall load'" -l force -d 'apply even if a rule matches every packet or stops the SSH connection of the caller'
complete -c rfm -n "__rfm_in 'rfm guard watch'" -l after -x -d 'also print the events after this number that the agent still has'
complete -c rfm -n "__rfm_in 'rfm guard watch'" -l exec -r -F -d 'program to run for each event'
complete -c rfm -n "__rfm_in 'rfm guard watch'" -l timeout -x -d 'seconds after which a program that still runs is killed'
complete -c rfm -n "__rfm_at 'rfm set' 0" -a 'bpf.sample_rate log_level'
complete -c rfm -n "__rfm_at 'rfm set' 1 log_level" -a 'off error warn info debug trace'
complete -c rfm -n "__rfm_at 'rfm firewall del' 0" -a "(type -q rfm; and rfm firewall list 2>/dev/null | awk '\$2 == \"runtime\" { print \$1 }')"
complete -c rfm -n "__rfm_at 'rfm firewall load' 0" -F
