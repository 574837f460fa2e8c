# Evaluates flake.nix with a stand-in for nixpkgs: what it gives, the package's attributes, and what its VM test sets.
# SPDX-License-Identifier: AGPL-3.0-only
{ revision }:
let
  inherit (builtins) attrNames functionArgs head intersectAttrs listToAttrs map;

  lib = import ./lib.nix // {
    genAttrs = names: make: listToAttrs (map (name: { inherit name; value = make name; }) names);
    cleanSource = path: path;
    makeBinPath = packages: builtins.concatStringsSep ":" (map (package: "/${package}/bin") packages);
    mkForce = value: value;
    licenses = { agpl3Only = "AGPL-3.0-only"; gpl2Only = "GPL-2.0-only"; };
    platforms.linux = [ "x86_64-linux" "aarch64-linux" ];
  };
  pkgs = {
    inherit lib;
    callPackage = file: arguments: let make = import file; in make (intersectAttrs (functionArgs make) pkgs // arguments);
    rustPlatform = { buildRustPackage = attributes: attributes; bindgenHook = "bindgenHook"; };
    llvmPackages.clang-unwrapped = "clang";
    pkg-config = "pkg-config";
    installShellFiles = "installShellFiles";
    makeWrapper = "makeWrapper";
    coreutils = "coreutils";
    curl = "curl";
    findutils = "findutils";
    gnugrep = "gnugrep";
    gnused = "gnused";
    gnutar = "gnutar";
    gzip = "gzip";
    elfutils = "elfutils";
    zlib = "zlib";
    jq = "jq";
    bpftools = "bpftools";
    testers.runNixOSTest = test: test;
  };
  self = outputs // revision;
  outputs = (import ../../flake.nix).outputs {
    inherit self;
    nixpkgs = { inherit lib; legacyPackages = { x86_64-linux = pkgs; aarch64-linux = pkgs; }; };
  };
  package = outputs.packages.x86_64-linux.default;
  module = outputs.nixosModules.default { inherit pkgs lib; };
  vm = outputs.checks.x86_64-linux.vm;
  test = import (head vm.imports) { inherit lib; };
  router = test.nodes.router { inherit pkgs; };
  options = (import (head module.imports) { inherit lib pkgs; config = { }; }).options;
in
{
  systems = attrNames outputs.packages;
  inherit (package) pname version;
  revision = package.env.RFM_REVISION;
  patch = package.postPatch;
  lock = builtins.pathExists package.cargoLock.lockFile;
  commands = package.postInstall + package.installCheckPhase;
  modulePackage = module.services.rfm.package.pname;
  nodes = attrNames test.nodes;
  inherit (test) testScript;
  # filled in and checked by the module's own options
  written = (import ../../nixos/options.nix { inherit lib; }).effective
    (lib.fillIn "services" { inherit (options.services) rfm; } { inherit (router.services) rfm; }).rfm.settings;
}
