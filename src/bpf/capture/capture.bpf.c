// SPDX-License-Identifier: GPL-2.0
/*
 * Captures the packets of attacks: programs that trace the programs of the firewall, for the packets that these drop,
 * and that of the monitor, for those that pass. A separate object, loaded only with agent.guard.pcap. The programs
 * are attached only while an attack lasts, so that at all other times a packet costs nothing.
 */
#include "../vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "../rfm.h"
#include "../common.bpf.h"
#include "../key.bpf.h"
#include "../parse.bpf.h"
#include "capture.h"

#define ARPHRD_ETHER	1
#define ARPHRD_LOOPBACK 772

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RFM_CAPTURE_FILTERS);
	__type(key, __u32);
	__type(value, struct rfm_capture_filter);
} rfm_capture_filters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} rfm_capture_ring SEC(".maps");

/* For the skeleton, which has the types of variables and maps only. */
const struct rfm_capture_packet rfm_capture_unused = {};

/* A frame in kernel memory. */
struct rfm_capture_frame {
	const unsigned char *data;
	const unsigned char *ip; /* of frames without an Ethernet header, otherwise null */
	__u32 linear;		 /* bytes at `data` */
	__u32 len;
	__u32 ifindex;
	__u32 is_dropped;
};

struct rfm_capture_addresses {
	__u32 src[4];
	__u32 dst[4];
	__u8 family;
	__u8 protocol;
};

static __always_inline int rfm_capture_is_tag(__be16 type)
{
	return type == bpf_htons(0x8100) || type == bpf_htons(0x88a8);
}

/* Returns the IP header, behind at most two VLAN tags. */
static __always_inline const unsigned char *
rfm_capture_find_ip(const struct rfm_capture_frame *frame)
{
	const unsigned char *ip = frame->data + ETH_HLEN;
	__be16 type = 0;

	if (frame->ip)
		return frame->ip;
#pragma unroll
	for (int tags = 0; tags <= 2; tags++) {
		if (bpf_probe_read_kernel(&type, sizeof(type), ip - sizeof(type)))
			return 0;
		if (!rfm_capture_is_tag(type))
			break;
		ip += VLAN_HLEN;
	}
	return ip;
}

static __always_inline int rfm_capture_read(const struct rfm_capture_frame *frame,
					    struct rfm_capture_addresses *out)
{
	const unsigned char *ip = rfm_capture_find_ip(frame);
	__u8 version = 0;

	if (!ip || bpf_probe_read_kernel(&version, sizeof(version), ip))
		return -1;
	if (version >> 4 == 4) {
		struct rfm_ipv4_hdr header;

		if (bpf_probe_read_kernel(&header, sizeof(header), ip))
			return -1;
		out->family = RFM_IPV4;
		out->protocol = header.protocol;
		out->src[0] = header.saddr;
		out->dst[0] = header.daddr;
		return 0;
	}
	if (version >> 4 == 6) {
		struct rfm_ipv6_hdr header;

		if (bpf_probe_read_kernel(&header, sizeof(header), ip))
			return -1;
		out->family = RFM_IPV6;
		out->protocol = header.nexthdr;
		__builtin_memcpy(out->src, header.saddr, sizeof(out->src));
		__builtin_memcpy(out->dst, header.daddr, sizeof(out->dst));
		return 0;
	}
	return -1;
}

static __always_inline int rfm_capture_matches(const struct rfm_capture_filter *filter,
					       const struct rfm_capture_addresses *packet)
{
	const __u32 *address = filter->by_source ? packet->src : packet->dst;
	__u32 differs = 0;

	if (filter->captured >= filter->limit || filter->family != packet->family ||
	    (filter->protocol && filter->protocol != packet->protocol))
		return 0;
#pragma unroll
	for (int i = 0; i < 4; i++)
		differs |= (address[i] ^ filter->address[i]) & filter->mask[i];
	return !differs;
}

static __always_inline void rfm_capture_store(const struct rfm_capture_frame *frame,
					      struct rfm_capture_filter *filter, __u32 number)
{
	struct rfm_capture_packet *packet;
	__u32 size;

	packet = bpf_ringbuf_reserve(&rfm_capture_ring, sizeof(*packet), 0);
	if (!packet) {
		__sync_fetch_and_add(&filter->lost, 1);
		return;
	}
	packet->time = bpf_ktime_get_boot_ns();
	packet->ifindex = frame->ifindex;
	packet->frame_bytes = frame->len;
	packet->filter = number;
	packet->is_ip = !!frame->ip;
	packet->is_dropped = frame->is_dropped;
	size = frame->linear;
	/* old verifiers forget the bound of a value that is stored: it is compared immediately before the use */
	asm volatile("" : "+r"(size));
	if (size > RFM_CAPTURE_BYTES)
		size = RFM_CAPTURE_BYTES;
	packet->captured_bytes = size;
	if (bpf_probe_read_kernel(packet->data, size, frame->data)) {
		bpf_ringbuf_discard(packet, BPF_RB_NO_WAKEUP);
		return;
	}
	__sync_fetch_and_add(&filter->captured, 1);
	bpf_ringbuf_submit(packet, BPF_RB_NO_WAKEUP);
}

static __always_inline void rfm_capture(const struct rfm_capture_frame *frame)
{
	struct rfm_capture_addresses packet = {};

	if (rfm_capture_read(frame, &packet))
		return;
	for (__u32 i = 0; i < RFM_CAPTURE_FILTERS; i++) {
		__u32 key = i;
		struct rfm_capture_filter *filter = bpf_map_lookup_elem(&rfm_capture_filters, &key);

		if (filter && rfm_capture_matches(filter, &packet)) {
			rfm_capture_store(frame, filter, i);
			return;
		}
	}
}

static __always_inline int rfm_capture_dropped(struct xdp_buff *xdp, int verdict, int is_ip)
{
	struct rfm_capture_frame frame = {};

	if (verdict != XDP_DROP)
		return 0;
	frame.data = xdp->data;
	frame.linear = (const unsigned char *)xdp->data_end - frame.data;
	frame.len = bpf_xdp_get_buff_len((struct xdp_md *)xdp);
	frame.ip = is_ip ? frame.data : 0;
	frame.ifindex = xdp->rxq->dev->ifindex;
	frame.is_dropped = 1;
	rfm_capture(&frame);
	return 0;
}

/* One for each program of the firewall, in a section of its name (traced.rs). The context has the arguments of that program, and then its result. */
SEC("rfm_fw_ether")
int rfm_capture_ether(__u64 *ctx)
{
	return rfm_capture_dropped((struct xdp_buff *)ctx[0], ctx[1], 0);
}

SEC("rfm_fw_generic")
int rfm_capture_generic(__u64 *ctx)
{
	return rfm_capture_dropped((struct xdp_buff *)ctx[0], ctx[1], 0);
}

SEC("rfm_fw_ip")
int rfm_capture_ip(__u64 *ctx)
{
	return rfm_capture_dropped((struct xdp_buff *)ctx[0], ctx[1], 1);
}

/* The packets that pass the ingress program of the monitor. */
SEC("rfm_ingress")
int rfm_capture_ingress(__u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct rfm_capture_frame frame = {};
	__u32 type = skb->dev->type;

	frame.data = skb->data;
	frame.len = skb->len;
	frame.linear = frame.len - skb->data_len;
	if (type != ARPHRD_ETHER && type != ARPHRD_LOOPBACK)
		frame.ip = frame.data = skb->head + skb->network_header;
	frame.ifindex = skb->dev->ifindex;
	rfm_capture(&frame);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
