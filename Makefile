# Each target installs what it needs and this machine lacks (scripts/setup.sh), and says so.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test test-prometheus generate soak fuzz lint demo bench deb rpm static test-static image test-image test-packages test-reproducible test-kernels test-nics test-unit-boot test-bare test-scale need-root

CONFIG ?= config/rfm.toml
# the tools for ARCH=arm64 or riscv64
CROSS := $(if $(ARCH),cross-$(ARCH))
BPF_C := $(filter-out src/bpf/vmlinux.h,$(wildcard src/bpf/*.[ch] src/bpf/*/*.[ch] benches/bpf/*.[ch]))
BUILD := cargo build --release --locked
BENCHES := datapath flood overload guard firewall cache table scrape history store ipfix memory series rib start fleet
SCRIPTS := .ci/run $(wildcard scripts/*.sh tests/*.sh tests/guest/*.sh) packaging/databases/rfm-update-databases docs/examples/guard-event

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: need-root ## build, and watch this machine's interfaces (CONFIG=FILE for another config)
	@scripts/setup.sh build
	$(BUILD)
	@scripts/run.sh $(CONFIG)

test: need-root ## run every test (ONLY="lib bmp" for some test programs), and print the ten slowest
	@scripts/setup.sh build test
	@scripts/test.sh $(ONLY)

test-prometheus: need-root ## scrape by Prometheus 3, VictoriaMetrics and vmagent (COLLECTOR=1: and the OpenTelemetry collector, built from source)
	@scripts/setup.sh build prometheus $(if $(COLLECTOR),collector)
	RFM_REQUIRE_TOOLS=1 RFM_COLLECTOR=$(COLLECTOR) cargo test --locked --test tsdb -- --nocapture --test-threads=1

generate: ## write the files that are made from the code (tests/generated), after a change of what they show
	@scripts/setup.sh build
	RFM_GENERATE=1 cargo test --locked --test generated

soak: need-root ## ten minutes of garbage on the BMP port, 1,000 killed writers of the history and 50 killed agents, a million random frames (`make test` does a thirtieth or less)
	@scripts/setup.sh build test
	RFM_SOAK_SECONDS=600 cargo test --locked --test bmp_garbage -- --nocapture
	RFM_SOAK_KILLS=1000 cargo test --locked --test store -- --nocapture crash
	RFM_SOAK_AGENT_KILLS=50 cargo test --locked --test history_kills -- --nocapture
	RFM_SOAK_FRAMES=1000000 cargo test --locked --test bpf_frames -- --nocapture

fuzz: ## run libFuzzer on all that reads input from outside (TARGET=bmp for one, SECONDS=60 for each)
	@scripts/setup.sh build fuzz
	@scripts/fuzz.sh $(or $(SECONDS),60) $(TARGET)

lint: ## check format and lints of Rust, BPF C and scripts
	@scripts/setup.sh build lint
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --all-targets --locked -- -D warnings
	cargo clippy --locked --no-default-features -- -D warnings
	$(if $(BPF_C),clang-format --dry-run -Werror $(BPF_C))
	scripts/check-words.sh
	scripts/check-links.py
	shellcheck $(SCRIPTS)

demo: need-root ## three namespaces, live traffic through a router, and what rfm says of it
	@scripts/setup.sh build demo
	$(BUILD)
	@scripts/demo.sh

bench: need-root ## measure, each figure beside a peer or a baseline (PART=datapath for one part)
	@scripts/setup.sh build bench
	cargo bench --locked $(foreach part,$(if $(PART),$(PART),$(BENCHES)),--bench $(part))
	cargo bench --locked --bench page

test-unit-boot: need-root ## boot the shipped unit in QEMU: a Debian kernel, systemd, a user of its own
	@scripts/setup.sh build guest
	$(BUILD)
	@tests/unit_boot.sh target/release/rfm

deb: ## make the Debian package (ARCH=arm64 for another machine than this one)
	@scripts/setup.sh build packages $(CROSS)
	@scripts/package.sh deb $(ARCH)

rpm: ## make the RPM (ARCH=arm64)
	@scripts/setup.sh build packages $(CROSS)
	@scripts/package.sh rpm $(ARCH)

static: ## make one static file and its archive; the last line is its path
	@scripts/setup.sh build >&2
	@scripts/static.sh

test-static: need-root ## run the static file in an empty root, with busybox and musl, in Debian 11 and by OpenRC
	@scripts/setup.sh build static
	@tests/static.sh

image: ## make the container image as an OCI archive (PROGRAM=FILE: with this program, such as the static one)
	@scripts/setup.sh build packages image
	@scripts/image.sh $(PROGRAM)

test-image: need-root ## run the container image with podman, between two network namespaces (PROGRAM=FILE)
	@scripts/setup.sh build packages image
	@tests/image.sh "$$(scripts/image.sh $(PROGRAM))"

test-packages: need-root ## install, upgrade, remove and purge the packages in chroots of Debian 12 and 13
	@scripts/setup.sh build packages
	@tests/packages.sh

test-reproducible: ## build the packages twice, in two folders, and compare the bytes (ARCH=arm64)
	@scripts/setup.sh build packages $(CROSS)
	@tests/reproducible.sh $(ARCH)

test-kernels: need-root ## boot Debian's kernels from 5.10 on in QEMU, also without types, with PREEMPT_RT and of arm64, with real traffic on each (SUITES=trixie for one, ARCH=arm64)
	@scripts/setup.sh build guest kernel $(if $(ARCH),guest-$(ARCH) $(CROSS))
	@scripts/dist.sh $(ARCH)
	@ARCH=$(ARCH) tests/kernels.sh $(SUITES)

test-nics: need-root ## boot routers with virtio-net, e1000e, igb and vmxnet3 in QEMU, and compare with its captures (CARDS="igb" for one)
	@scripts/setup.sh build guest nics
	@scripts/dist.sh
	@tests/nics.sh $(CARDS)

test-scale: need-root ## compare what real collectors, brokers and stores hold with the interface counters (ONLY="nfacctd nfdump")
	@scripts/setup.sh build scale
	@scripts/setup-scale.sh
	cargo build --locked
	@python3 tests/scale target/debug/rfm $(ONLY)

test-bare: need-root ## try `make run` and `make test` on a bare Debian 12, in a chroot
	@scripts/setup.sh bare
	@tests/bare.sh

need-root:
	@[ "$$(id -u)" = 0 ] || { echo "make: this loads BPF programs into the kernel: run it as root" >&2; exit 1; }
