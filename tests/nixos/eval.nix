# Evaluates nixos/module.nix with the stand-in for lib: what the options are, and what the settings given come to.
# SPDX-License-Identifier: AGPL-3.0-only
{ settings ? "{}" }:
let
  lib = import ./lib.nix;
  file = import ../../nixos/options.nix { inherit lib; };
  pkgs = {
    coreutils = "/coreutils";
    callPackage = file: arguments: "/package";
    # the content in the name of the file
    formats.toml = arguments: { generate = name: builtins.toJSON; };
    runCommand = name: arguments: script: script;
  };
  module = import ../../nixos/module.nix;
  filled = lib.fillIn "services" { rfm = (module { inherit lib pkgs; config = { }; }).options.services.rfm; } {
    rfm = builtins.fromJSON settings;
  };
  # the module reads back what it sets
  config = filled // { inherit (set) environment; services = filled; };
  set = (module { inherit lib pkgs config; }).config;
in
{
  # a type is a function
  keys = map (key: removeAttrs key [ "type" ]) file.keys;
  written = file.effective filled.rfm.settings;
  ports = set.networking.firewall.allowedTCPPorts or [ ];
  file = set.environment.etc."rfm/rfm.toml".source or "";
  service = set.systemd.services.rfm or { };
  events = set.systemd.services.rfm-guard-events or { };
  updater = set.systemd.services.rfm-update-databases or { };
  timer = set.systemd.timers.rfm-update-databases or { };
}
