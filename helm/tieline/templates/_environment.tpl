{{- /* What a role is told. Passwords stay in Secrets: Kubernetes puts $(NAME) in when it starts the
container. Takes root, component and role. */ -}}
{{- define "tieline.environment" -}}
{{- $secret := dict "root" .root "component" .component "existingSecret" .role.existingSecret -}}
{{- include "tieline.secretVariable" (merge (dict "variable" "NATS_PASSWORD" "key" "nats-password") $secret) }}
- name: TIELINE_NATS_URL
  value: {{ include "tieline.natsScheme" .root }}://{{ .component }}:$(NATS_PASSWORD)@{{ include "tieline.natsHost" .root }}:{{ .root.Values.nats.port }}
{{- if .role.isService }}
{{ include "tieline.secretVariable" (merge (dict "variable" "DATABASE_PASSWORD" "key" "database-password") $secret) }}
- name: TIELINE_DATABASE_DSN
  value: postgresql://tieline_{{ .component }}:$(DATABASE_PASSWORD)@{{ include "tieline.databaseHost" .root }}:{{ .root.Values.database.port }}/{{ .root.Values.database.name }}{{ include "tieline.databaseOptions" .root }}
{{ include "tieline.secretVariable" (merge (dict "variable" "TIELINE_SECRET_KEY" "key" "secret-key") $secret) }}
{{- end }}
{{- if and (eq .component "identity") (include "tieline.makesAdministrator" .root) }}
{{ include "tieline.secretVariable" (merge (dict "variable" "TIELINE_PLATFORM_ADMINISTRATOR_PASSWORD" "key" "administrator-password") $secret) }}
{{- end }}
{{- if and (eq .component "edge") (not (hasKey .role.settings "TIELINE_EDGE_MEMORY_MIB")) }}
- name: TIELINE_EDGE_MEMORY_MIB
  valueFrom:
    resourceFieldRef: {resource: limits.memory, divisor: 1Mi}
{{- end }}
{{- range $name, $key := .role.secretSettings }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret.existingSecret }}
      key: {{ $key }}
{{- end }}
{{- range $name, $value := mergeOverwrite (include "tieline.fixedSettings" . | fromYaml) (deepCopy .role.settings) }}
- name: {{ $name }}
  {{- /* A whole number that came through JSON would print as 5e+07. */}}
  {{- $isWhole := and (kindIs "float64" $value) (eq (floor $value) (float64 $value)) }}
  value: {{ ternary (int64 $value) $value $isWhole | toString | quote }}
{{- end }}
{{- end -}}

{{- define "tieline.fixedSettings" -}}
TIELINE_LOG_FORMAT: json
{{- if and .root.Values.nats.tls.enabled .root.Values.nats.tls.caExistingSecret }}
TIELINE_NATS_TLS_CA_FILE: /etc/tieline/nats-ca/ca.crt
{{- end }}
{{- if .role.isService }}
TIELINE_GRPC_HOST: 0.0.0.0
TIELINE_GRPC_PORT: "7100"
TIELINE_AGENT_PORT: "7900"
{{- if .role.surge.enabled }}
TIELINE_CAPACITY_PER_S: {{ .role.surge.requestsPerSecondPerPod | quote }}
{{- end }}
TIELINE_DRAIN_S: {{ .role.drainSeconds | quote }}
TIELINE_SHUTDOWN_GRACE_S: {{ .role.shutdownGraceSeconds | quote }}
{{- if .root.Values.tls.enabled }}
TIELINE_PROBE_PORT: "7101"
TIELINE_GRPC_TLS_CERT_FILE: /etc/tieline/grpc-tls/tls.crt
TIELINE_GRPC_TLS_KEY_FILE: /etc/tieline/grpc-tls/tls.key
{{- if .root.Values.tls.clientCertificates }}
TIELINE_GRPC_TLS_CLIENT_CA_FILE: /etc/tieline/grpc-tls/ca.crt
{{- end }}
{{- end }}
{{- with .root.Values.trustedProxies }}
TIELINE_TRUSTED_PROXIES: {{ . | quote }}
{{- end }}
{{- end }}
{{- if ne .component "edge" }}
TIELINE_METRICS_HOST: 0.0.0.0
TIELINE_METRICS_PORT: "9464"
{{- with .root.Values.telemetry.otlpEndpoint }}
TIELINE_OTLP_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end }}
{{- if eq .component "operator" }}
TIELINE_NAMESPACE: {{ .root.Release.Namespace }}
TIELINE_LEASE_NAME: {{ include "tieline.fullname" .root }}-operator
TIELINE_PROBE_PORT: "8080"
{{- with .root.Values.surge.clusterRoomPods }}
TIELINE_CLUSTER_ROOM_PODS: {{ int64 . | toString | quote }}
{{- end }}
{{- if .root.Values.recording.enabled }}
TIELINE_RECORDING_DIRECTORY: /var/lib/tieline/recording
{{- end }}
{{- end }}
{{- if eq .component "edge" }}
TIELINE_EDGE_HOST: 0.0.0.0
TIELINE_EDGE_PORT: "7100"
TIELINE_EDGE_METRICS_PORT: "9464"
TIELINE_DRAIN_S: {{ .role.drainSeconds | quote }}
TIELINE_SHUTDOWN_GRACE_S: {{ .role.shutdownGraceSeconds | quote }}
{{- /* Full names: HAProxy asks the cluster's DNS itself, and knows no search domains. */}}
{{- $most := 32 }}
{{- range $name, $role := include "tieline.roles" .root | fromYaml }}
{{- if $role.isService }}
{{- $most = max $most (include "tieline.podsAtMost" $role) }}
TIELINE_EDGE_{{ upper $name }}: dns:{{ include "tieline.fullname" $.root }}-{{ $name }}.{{ $.root.Release.Namespace }}.svc.{{ $.root.Values.clusterDomain }}:7100@7900
{{- end }}
{{- end }}
{{- /* Addresses that have left DNS keep their places until their calls have ended. */}}
TIELINE_EDGE_MAX_REPLICAS: {{ mul 2 $most | quote }}
{{- if .root.Values.tls.enabled }}
TIELINE_EDGE_REPLICA_TLS_CA: /etc/tieline/grpc-tls/ca.crt
{{- if .root.Values.tls.clientCertificates }}
TIELINE_EDGE_REPLICA_TLS_CERTIFICATE: /etc/tieline/grpc-tls/tls-combined.pem
{{- end }}
{{- end }}
{{- if .root.Values.edge.tlsExistingSecret }}
TIELINE_EDGE_TLS_CERTIFICATE: /etc/tieline/tls/{{ .root.Values.edge.tlsKey }}
{{- end }}
{{- end }}
{{- end -}}
