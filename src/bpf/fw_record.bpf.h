/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One in so many dropped packets becomes a flow record, in a ring of its own: what was dropped is not
 * among the flows that the monitor sees. The slot of such a record is the ifindex.
 */
#ifndef RFM_FW_RECORD_BPF_H
#define RFM_FW_RECORD_BPF_H

/* 1 in N, set before the load; 0 makes none. */
const volatile __u32 rfm_fw_sample_rate = 0;

/* Programs write, userspace reads. The size is set before the load. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} rfm_fw_ring SEC(".maps");

/* The gap is drawn anew each time: no pattern of packets can hide between. */
static __always_inline int rfm_fw_is_taken(void)
{
	struct rfm_fw_cpu *cpu = bpf_map_lookup_elem(&rfm_fw_cpus, &(__u32){0});
	__u32 rate = rfm_fw_sample_rate;

	if (!rate || !cpu)
		return 0;
	if (cpu->countdown > 1) {
		cpu->countdown--;
		return 0;
	}
	cpu->countdown = rfm_draw_gap(rate);
	return 1;
}

static __always_inline void rfm_fw_set_macs(struct rfm_flow_record *rec, struct xdp_md *ctx)
{
	struct rfm_macs buffer;
	const struct rfm_macs *mac = rfm_header_xdp(ctx, 0, &buffer, sizeof(buffer));

	if (!mac)
		return;
	__builtin_memcpy(rec->dst_mac, mac->dst, sizeof(rec->dst_mac));
	__builtin_memcpy(rec->src_mac, mac->src, sizeof(rec->src_mac));
}

__noinline int rfm_fw_record(struct xdp_md *ctx, __u64 network, __u32 start, __u32 bytes)
{
	struct rfm_fw_cpu *cpu = bpf_map_lookup_elem(&rfm_fw_cpus, &(__u32){0});
	union rfm_network net = {.word = network};
	struct rfm_transport tr = {};
	struct rfm_flow_record *rec;
	struct rfm_key key = {};
	struct rfm_cursor cur;

	rfm_open_xdp(&cur, ctx);
	if (!cpu || rfm_parse_flow(&cur, &net, rfm_extensions_xdp, &key, &tr))
		return 0;
	rec = bpf_ringbuf_reserve(&rfm_fw_ring, sizeof(*rec), 0);
	if (!rec) {
		cpu->lost++;
		return 0;
	}
	__builtin_memset(rec, 0, sizeof(*rec));
	if (start == RFM_FW_ETHERNET)
		rfm_fw_set_macs(rec, ctx);
	key.word[4] = rfm_join(ctx->ingress_ifindex, tr.ports);
	key.word[5] =
		rfm_join(rfm_join16(net.vlan_outer, net.vlan_inner),
			 rfm_join16(rfm_join8(tr.protocol, RFM_INGRESS), rfm_join8(net.family, 0)));
	rfm_key_copy(&rec->key, &key);
	rec->packets = 1;
	rec->bytes = bytes;
	rec->octets = tr.octets;
	rec->first = rec->last = bpf_ktime_get_boot_ns();
	rec->sample_rate = rfm_fw_sample_rate;
	rec->ingress_ifindex = ctx->ingress_ifindex;
	rec->tcp_flags = tr.tcp_flags;
	rec->tos = tr.tos;
	bpf_ringbuf_submit(rec, 0);
	return 0;
}

#endif
