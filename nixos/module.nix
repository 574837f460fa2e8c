# services.rfm: the daemon as a hardened service. In step with config/rfm.service, which tests/nixos.rs holds it to.
# SPDX-License-Identifier: AGPL-3.0-only
{ config, lib, pkgs, ... }:
let
  cfg = config.services.rfm;
  file = import ./options.nix { inherit lib; };
  format = pkgs.formats.toml { };
  written = file.effective cfg.settings;
  withWeb =
    if cfg.webConfig == null then written
    else lib.recursiveUpdate written { agent.prometheus.web_config = cfg.webConfig; };
  configFile = format.generate "rfm.toml" withWeb;
  checkedConfig = pkgs.runCommand "rfm-checked.toml" { } ''
    # databases and certificates lie on the machine and not here
    grep -vE '^(asn_db|city_db|web_config) = ' ${configFile} > without-files.toml
    ${lib.getExe cfg.package} --config without-files.toml --check
    cp ${configFile} $out
  '';
  update = cfg.updateDatabases;
  events = cfg.guardEvents;
  agent = cfg.settings.agent;
  bmp = agent.enrich.rib.bmp;
  bmpPort = if bmp.port != null then bmp.port else 11019;
  # restrictions of all services
  hardening = {
    NoNewPrivileges = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    ProtectSystem = "strict";
    ProtectHome = true;
    PrivateTmp = true;
    PrivateDevices = true;
    PrivateIPC = true;
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProcSubset = "pid";
  };
in
{
  options.services.rfm = {
    enable = lib.mkEnableOption "rfm, the Router Flow Monitor";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The package to run.";
    };

    settings = lib.mkOption {
      type = lib.types.submodule { inherit (file) options; };
      default = { };
      example = {
        agent = {
          interfaces = [ "eth.*" "wg0" ];
          bpf.sample_rate = 1;
          prometheus.host = "::";
          prometheus.allow = [ "2001:db8::/32" ];
        };
      };
      description = "What /etc/rfm/rfm.toml has on other systems, key by key.";
    };

    webConfig = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "/var/lib/rfm-web/web.yml";
      description = ''
        Path of a web configuration file on the machine, with certificate and users (agent.prometheus.web_config). As a
        text, so that its hashes do not become readable for everybody in the store. The service reads it, and the
        certificate and the key that it names, through a group: see supplementaryGroups.
      '';
    };

    supplementaryGroups = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "acme" ];
      description = "Groups of the service, such as the one that may read certificate and key of webConfig.";
    };

    checkConfig = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Whether to refuse a configuration at build time that the program would refuse.";
    };

    updateDatabases = {
      enable = lib.mkEnableOption "the weekly download of the databases that name networks and places";

      settingsFile = lib.mkOption {
        type = lib.types.nullOr lib.types.str;
        default = null;
        example = "/run/secrets/rfm-update-databases";
        description = "File of settings as rfm-update-databases(8) describes them, outside of the store: it may hold keys.";
      };
    };

    guardEvents = {
      program = lib.mkOption {
        type = lib.types.nullOr lib.types.str;
        default = null;
        example = "/etc/rfm/guard-event";
        description = ''
          Program to run for each event of the guard, with JSON on its standard input, as a service with a user of its own:
          see docs/guard.md. null runs none.
        '';
      };

      group = lib.mkOption {
        type = lib.types.str;
        default = "rfm";
        description = "The group that may open the control socket, as in agent.control.group.";
      };
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether to open the TCP port of /metrics and the page, and that of BMP where it listens. Both answer on the
        loopback address alone unless their host says otherwise.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    environment.etc."rfm/rfm.toml".source = if cfg.checkConfig then checkedConfig else configFile;

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall (
      [ agent.prometheus.port ] ++ lib.optional (bmp.host != null || bmp.port != null) bmpPort
    );

    systemd.services.rfm-update-databases = lib.mkIf update.enable {
      description = "Update of the databases of rfm";
      documentation = [ "man:rfm-update-databases(8)" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      serviceConfig = hardening // {
        ExecStart = "${cfg.package}/bin/rfm-update-databases"
          + (if update.settingsFile == null then "" else " --settings ${update.settingsFile}");
        Type = "oneshot";
        TimeoutStartSec = "2h";
        Nice = 10;
        StateDirectory = "GeoIP";
        StateDirectoryMode = "0755";
        UMask = "0022";
        CapabilityBoundingSet = "";
        SystemCallFilter = [ "@system-service" "~@privileged @resources @keyring" ];
        RestrictAddressFamilies = "AF_UNIX AF_INET AF_INET6";
      };
    };

    systemd.timers.rfm-update-databases = lib.mkIf update.enable {
      description = "Weekly update of the databases of rfm";
      documentation = [ "man:rfm-update-databases(8)" ];
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = "weekly";
        RandomizedDelaySec = "1d";
        Persistent = true;
      };
    };

    systemd.services.rfm-guard-events = lib.mkIf (events.program != null) {
      description = "Events of the guard of rfm";
      documentation = [ "man:rfm(8)" ];
      after = [ "rfm.service" ];
      wantedBy = [ "multi-user.target" ];
      unitConfig = {
        ConditionFileIsExecutable = events.program;
        StartLimitIntervalSec = 0;
      };
      serviceConfig = hardening // {
        ExecStart = "${lib.getExe cfg.package} guard watch --exec ${events.program}";
        Restart = "always";
        RestartSec = 2;
        DynamicUser = true;
        SupplementaryGroups = events.group;
        StateDirectory = "rfm-guard-events";
        StateDirectoryMode = "0700";
        UMask = "0077";
        CapabilityBoundingSet = "";
        SystemCallFilter = [ "@system-service" "~@privileged @resources @keyring" ];
        RestrictAddressFamilies = "AF_UNIX AF_INET AF_INET6";
      };
    };

    systemd.services.rfm = {
      description = "Router Flow Monitor";
      documentation = [ "man:rfm(8)" "man:rfm.toml(5)" ];
      after = [ "sysinit.target" ];
      wantedBy = [ "multi-user.target" ];
      # a reload would leave out what takes a restart, such as a port that was just opened
      restartTriggers = [ config.environment.etc."rfm/rfm.toml".source ];
      unitConfig.StartLimitIntervalSec = 0;
      serviceConfig = hardening // {
        Type = "notify";
        ExecStart = "${lib.getExe cfg.package} --config /etc/rfm/rfm.toml";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        ExecStopPost = "+${lib.getExe cfg.package} --detach";
        Restart = "always";
        RestartSec = 2;
        RestartPreventExitStatus = 3;
        FileDescriptorStoreMax = 1024;
        WatchdogSec = 30;
        TimeoutStartSec = 120;
        TimeoutStopSec = 30;
        DynamicUser = true;
        User = "rfm";
        RuntimeDirectory = "rfm";
        RuntimeDirectoryMode = "0755";
        CacheDirectory = "rfm";
        CacheDirectoryMode = "0700";
        StateDirectory = "rfm";
        StateDirectoryMode = "0700";
        UMask = "0077";
        AmbientCapabilities = "CAP_BPF CAP_NET_ADMIN CAP_PERFMON";
        CapabilityBoundingSet = "CAP_BPF CAP_NET_ADMIN CAP_PERFMON";
        LimitMEMLOCK = "infinity";
        LimitNOFILE = 262144;
        CPUWeight = 1000;
        SystemCallFilter = [ "@system-service" "~@privileged @resources @keyring @setuid memfd_secret" "bpf capset seccomp @chown" ];
        RestrictAddressFamilies = "AF_UNIX AF_INET AF_INET6 AF_NETLINK";
        PrivateMounts = true;
        RemoveIPC = true;
        KeyringMode = "private";
      } // (if cfg.supplementaryGroups == [ ] then { } else { SupplementaryGroups = cfg.supplementaryGroups; });
    };
  };
}
