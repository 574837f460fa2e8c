# SPDX-License-Identifier: AGPL-3.0-only
{ lib
, rustPlatform
, llvmPackages
, pkg-config
, installShellFiles
, makeWrapper
, coreutils
, curl
, findutils
, gnugrep
, gnused
, gnutar
, gzip
, elfutils
, zlib
, revision ? ""
}:
rustPlatform.buildRustPackage {
  pname = "rfm";
  version = (builtins.fromTOML (builtins.readFile ../Cargo.toml)).package.version;

  src = lib.cleanSource ../.;
  cargoLock.lockFile = ../Cargo.lock;

  # unwrapped: the wrapper's hardening flags are unknown to the BPF target
  nativeBuildInputs = [ llvmPackages.clang-unwrapped pkg-config installShellFiles makeWrapper rustPlatform.bindgenHook ];
  buildInputs = [ elfutils zlib ];
  hardeningDisable = [ "zerocallusedregs" ];

  # the build reads version and revision from scripts/version.sh, whose interpreter a sandbox has not
  postPatch = "patchShebangs scripts";
  env.RFM_REVISION = revision;

  # the tests make interfaces and load programs into the kernel; what can be tried in a sandbox is tried here
  doCheck = false;
  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck
    $out/bin/rfm --version
    $out/bin/rfm --config config/rfm.toml --check
    runHook postInstallCheck
  '';

  postInstall = ''
    installManPage docs/man/*.[1-8]
    installShellCompletion --cmd rfm \
      --bash packaging/completions/rfm.bash --fish packaging/completions/rfm.fish --zsh packaging/completions/_rfm
    install -Dm755 -t $out/bin packaging/databases/rfm-update-databases
    wrapProgram $out/bin/rfm-update-databases \
      --prefix PATH : ${lib.makeBinPath [ coreutils curl findutils gnugrep gnused gnutar gzip ]}:$out/bin
    install -Dm644 -t $out/share/rfm/grafana grafana/dashboard.json grafana/rules.yml grafana/alerts.yml
  '';

  meta = {
    description = "Router Flow Monitor: counts what crosses a Linux router, by BPF";
    license = [ lib.licenses.agpl3Only lib.licenses.gpl2Only ];
    platforms = lib.platforms.linux;
    mainProgram = "rfm";
  };
}
