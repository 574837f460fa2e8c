# fish completion for rfm
# SPDX-License-Identifier: AGPL-3.0-only

set --local commands status flows top rib lookup set reload firewall
set --local none "not __fish_seen_subcommand_from $commands"
set --local any "__fish_seen_subcommand_from $commands"
set --local flows "__fish_seen_subcommand_from flows top"
set --local firewall "__fish_seen_subcommand_from firewall"
set --local add "$firewall; and __fish_seen_subcommand_from add"
set --local fields src dst src_port dst_port ifname direction proto src_asn dst_asn src_city dst_city \
    src_country dst_country src_peer_asn dst_peer_asn src_net dst_net vlan

complete -c rfm -f
complete -c rfm -l help -d 'display usage information'
complete -c rfm -l config -r -F -d 'configuration file'
complete -c rfm -n $none -l check -d 'check the configuration and print what is in effect'
complete -c rfm -n $none -l detach -d 'remove what a killed agent left'
complete -c rfm -n $none -l version -d 'print the version'

complete -c rfm -n $none -a status -d 'how the agent is'
complete -c rfm -n $none -a flows -d 'flows that are live'
complete -c rfm -n $none -a top -d 'live view'
complete -c rfm -n $none -a rib -d 'routes for an address'
complete -c rfm -n $none -a lookup -d 'labels of an address and their sources'
complete -c rfm -n $none -a set -d 'change something'
complete -c rfm -n $none -a reload -d 'read the configuration again'

complete -c rfm -n $none -a firewall -d 'what is dropped'

complete -c rfm -n $any -l json -d 'print the answer as JSON'
complete -c rfm -n $any -l socket -r -F -d 'socket of the agent'

complete -c rfm -n $flows -l limit -x -d 'at most so many lines'
complete -c rfm -n $flows -l interface -x -a '(__fish_print_interfaces)' -d 'only this interface'
complete -c rfm -n $flows -l direction -x -a 'ingress egress' -d 'only this direction'
complete -c rfm -n $flows -l protocol -x -a 'tcp udp icmp icmp6 sctp gre esp' -d 'only this protocol'
complete -c rfm -n $flows -l address -x -d 'only with this prefix at one end'
complete -c rfm -n $flows -l src -x -d 'only from this prefix'
complete -c rfm -n $flows -l dst -x -d 'only to this prefix'
complete -c rfm -n $flows -l port -x -d 'only with this port at one end'
complete -c rfm -n $flows -l src-port -x -d 'only from this port'
complete -c rfm -n $flows -l dst-port -x -d 'only to this port'
complete -c rfm -n $flows -l asn -x -d 'only with this AS at one end'
complete -c rfm -n $flows -l src-asn -x -d 'only from this AS'
complete -c rfm -n $flows -l dst-asn -x -d 'only to this AS'
complete -c rfm -n '__fish_seen_subcommand_from flows' -l sort -x -a 'bytes packets rate last duration' -d 'what comes first'
complete -c rfm -n '__fish_seen_subcommand_from top' -l sort -x -a 'bytes packets rate' -d 'what comes first'
complete -c rfm -n '__fish_seen_subcommand_from top' -l by -x -a "$fields" -d 'what to add up by'
complete -c rfm -n '__fish_seen_subcommand_from top' -l once -d 'print once'
complete -c rfm -n '__fish_seen_subcommand_from rib lookup' -l vrf -x -a '(__fish_print_interfaces)' -d 'table of this VRF device'
complete -c rfm -n '__fish_seen_subcommand_from set' -a 'bpf.sample_rate log_level'
complete -c rfm -n $firewall -a 'add del list flush stats load'
complete -c rfm -n $add -l src -x -d 'from this prefix'
complete -c rfm -n $add -l dst -x -d 'to this prefix'
complete -c rfm -n $add -l proto -x -a 'tcp udp icmp icmpv6 sctp gre esp' -d 'of this protocol'
complete -c rfm -n $add -l dport -x -d 'to these ports'
complete -c rfm -n $add -l interface -x -a '(__fish_print_interfaces)' -d 'on this interface'
complete -c rfm -n $add -l action -x -a 'drop pass count limit' -d 'what becomes of it'
complete -c rfm -n $add -l rate -x -d 'packets per second of a limit'
complete -c rfm -n $add -l per -x -a 'rule source' -d 'whose packets share the rate'
complete -c rfm -n $add -l ttl -x -d 'ends the rule after this time'
complete -c rfm -n "$firewall; and __fish_seen_subcommand_from add del flush load" -l force -d 'even if it may be a mistake'
complete -c rfm -n "$firewall; and __fish_seen_subcommand_from load" -F -l replace -d 'in place of all that were added'
