/* SPDX-License-Identifier: GPL-2.0 */
/* Types and constants that the programs which capture the packets of attacks share with userspace. */
#ifndef RFM_CAPTURE_H
#define RFM_CAPTURE_H

/* Bytes of a packet, from the first byte of its frame on. */
#define RFM_CAPTURE_BYTES 256
/* Attacks whose packets are captured at once. */
#define RFM_CAPTURE_FILTERS 8

/* The packets of one attack. */
struct rfm_capture_filter {
	__u32 address[4]; /* network byte order; of IPv4 only the first */
	__u32 mask[4];
	__u64 captured;
	__u64 lost;	/* the ring was full */
	__u64 limit;	/* 0: off */
	__u8 family;	/* enum rfm_family */
	__u8 protocol;	/* 0: all */
	__u8 by_source; /* the address is that of the source */
	__u8 padding[5];
};

/* A packet in the ring. */
struct rfm_capture_packet {
	__u64 time; /* boot clock */
	__u32 ifindex;
	__u32 frame_bytes;
	__u16 captured_bytes;
	__u8 filter;
	__u8 is_ip; /* the frame has no Ethernet header */
	__u8 is_dropped;
	__u8 padding[3];
	__u8 data[RFM_CAPTURE_BYTES];
};

#endif
