{{- define "tieline.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "tieline.fullname" -}}
{{- $name := include "tieline.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Labels by which pods are found: fixed for life, since a Deployment's selector can't change.
Takes (dict "root" $ "component" "messaging"), as all below that name a component. */ -}}
{{- define "tieline.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tieline.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "tieline.labels" -}}
{{ include "tieline.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: tieline
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "tieline.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The enabled roles by name, each merged over the defaults, as YAML. */ -}}
{{- define "tieline.roles" -}}
{{- $roles := dict -}}
{{- range $name, $own := .Values.roles -}}
{{- $role := mergeOverwrite (deepCopy $.Values.defaults) (deepCopy (default dict $own)) -}}
{{- if $role.enabled -}}
{{- $_ := set $role "isService" (not (has $name (list "operator" "edge"))) -}}
{{- $_ := set $roles $name $role -}}
{{- end -}}
{{- end -}}
{{- toYaml $roles -}}
{{- end -}}

{{- /* Pods of a service at most, those of an update included. Takes a merged role. */ -}}
{{- define "tieline.podsAtMost" -}}
{{- $most := ternary .surge.maxReplicas .replicas .surge.enabled | int -}}
{{- $surge := toString .maxSurge -}}
{{- if hasSuffix "%" $surge -}}
{{- /* Kubernetes rounds the pods of maxSurge up. */ -}}
{{- add $most (div (add (mul $most (trimSuffix "%" $surge | int)) 99) 100) -}}
{{- else -}}
{{- add $most (.maxSurge | int) -}}
{{- end -}}
{{- end -}}

{{- define "tieline.databaseHost" -}}
{{- if .Values.trial.enabled -}}{{ include "tieline.fullname" . }}-postgresql{{- else -}}{{ .Values.database.host }}{{- end -}}
{{- end -}}

{{- define "tieline.natsHost" -}}
{{- if .Values.trial.enabled -}}{{ include "tieline.fullname" . }}-nats{{- else -}}{{ .Values.nats.host }}{{- end -}}
{{- end -}}

{{- define "tieline.trialSecret" -}}
{{- default (printf "%s-trial" (include "tieline.fullname" .)) .Values.trial.existingSecret -}}
{{- end -}}

{{- /* The keys of the trial's Secret, as a YAML list. */ -}}
{{- define "tieline.trialKeys" -}}
{{- $keys := list "migrations-database-password" "migrations-nats-password" "identity-administrator-password" -}}
{{- range $user, $_ := .Files.Get "files/nats-permissions.json" | fromJson -}}
{{- $keys = append $keys (printf "%s-nats-password" $user) -}}
{{- end -}}
{{- range list "identity" "directory" "messaging" "contacts" "payments" -}}
{{- $keys = concat $keys (list (printf "%s-database-password" .) (printf "%s-secret-key" .)) -}}
{{- end -}}
{{- toYaml $keys -}}
{{- end -}}

{{- /* Where the platform administrator's password is for `helm test`: name and key of a Secret, or
nothing. */ -}}
{{- define "tieline.testPassword" -}}
{{- if .Values.test.existingSecret -}}
name: {{ .Values.test.existingSecret }}
key: {{ .Values.test.passwordKey }}
{{- else if include "tieline.makesAdministrator" . -}}
name: {{ include "tieline.trialSecret" . }}
key: identity-administrator-password
{{- end -}}
{{- end -}}

{{- /* Whether the trial gives the first administrator a password: nobody else does. */ -}}
{{- define "tieline.makesAdministrator" -}}
{{- $identity := get (include "tieline.roles" . | fromYaml) "identity" | default dict -}}
{{- if and .Values.trial.enabled (hasKey $identity "secretSettings") (not (hasKey $identity.secretSettings "TIELINE_PLATFORM_ADMINISTRATOR_PASSWORD")) -}}
true
{{- end -}}
{{- end -}}

{{- /* The last part of a DSN; the trial is without TLS, within the cluster. */ -}}
{{- define "tieline.databaseOptions" -}}
{{- if .Values.trial.enabled -}}
?sslmode=disable
{{- else -}}
?sslmode={{ .Values.database.sslMode }}{{ if .Values.database.caExistingSecret }}&sslrootcert=/etc/tieline/database-ca/ca.crt{{ end }}
{{- end -}}
{{- end -}}

{{- /* One variable from a Secret. In the trial one Secret has all passwords, each with its role's
name in front. Takes root, component, existingSecret, variable and key. */ -}}
{{- define "tieline.secretVariable" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      {{- if .root.Values.trial.enabled }}
      name: {{ include "tieline.trialSecret" .root }}
      key: {{ .component }}-{{ .key }}
      {{- else }}
      name: {{ .existingSecret }}
      key: {{ ternary .root.Values.database.passwordKey .key (eq .key "database-password") }}
      {{- end }}
{{- end -}}

{{- /* The fields of every pod of ours. Kubernetes' service variables are off: a Service named
tieline-grpc would set TIELINE_GRPC_PORT. */ -}}
{{- define "tieline.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "tieline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "tieline.natsScheme" -}}
{{- ternary "tls" "nats" .Values.nats.tls.enabled -}}
{{- end -}}

{{- /* The Secrets with certificates and authorities that a pod of this component mounts, by their
names in the pod, each with the keys that the pod reads: a Secret that has a `ca.crt` may have the
authority's private key beside it. Takes root and component. */ -}}
{{- define "tieline.certificates" -}}
{{- $values := .root.Values -}}
{{- $authority := list "ca.crt" -}}
{{- $mounts := dict -}}
{{- if and $values.database.caExistingSecret (not $values.trial.enabled) (not (has .component (list "operator" "edge" "test"))) -}}
{{- $_ := set $mounts "database-ca" (dict "secret" $values.database.caExistingSecret "keys" $authority) -}}
{{- end -}}
{{- if and $values.nats.tls.enabled $values.nats.tls.caExistingSecret (ne .component "test") -}}
{{- $_ := set $mounts "nats-ca" (dict "secret" $values.nats.tls.caExistingSecret "keys" $authority) -}}
{{- end -}}
{{- $hasEdge := hasKey (include "tieline.roles" .root | fromYaml) "edge" -}}
{{- if and $values.tls.enabled (not (has .component (list "operator" "migrations"))) (not (and $hasEdge (eq .component "test"))) -}}
{{- $_ := set $mounts "grpc-tls" (dict "secret" $values.tls.existingSecret "keys" (include "tieline.grpcTlsKeys" . | fromYamlArray)) -}}
{{- end -}}
{{- if and $values.test.caExistingSecret (eq .component "test") -}}
{{- $_ := set $mounts "edge-ca" (dict "secret" $values.test.caExistingSecret "keys" $authority) -}}
{{- end -}}
{{- if and $values.edge.tlsExistingSecret (eq .component "edge") -}}
{{- $_ := set $mounts "tls" (dict "secret" $values.edge.tlsExistingSecret "keys" (list $values.edge.tlsKey)) -}}
{{- end -}}
{{- toYaml $mounts -}}
{{- end -}}

{{- /* What of the services' certificate a pod reads, as a YAML list: those that call services need
the authority, and a key of their own only where services ask for one. */ -}}
{{- define "tieline.grpcTlsKeys" -}}
{{- $asks := .root.Values.tls.clientCertificates -}}
{{- if eq .component "edge" -}}
{{- toYaml (ternary (list "ca.crt" "tls-combined.pem") (list "ca.crt") $asks) -}}
{{- else if eq .component "test" -}}
{{- toYaml (ternary (list "ca.crt" "tls.crt" "tls.key") (list "ca.crt") $asks) -}}
{{- else -}}
{{- toYaml (ternary (list "tls.crt" "tls.key" "ca.crt") (list "tls.crt" "tls.key") $asks) -}}
{{- end -}}
{{- end -}}

{{- define "tieline.certificateMounts" -}}
{{- range $name, $_ := include "tieline.certificates" . | fromYaml }}
- name: {{ $name }}
  mountPath: /etc/tieline/{{ $name }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "tieline.certificateVolumes" -}}
{{- range $name, $mount := include "tieline.certificates" . | fromYaml }}
- name: {{ $name }}
  secret:
    secretName: {{ $mount.secret }}
    items:
      {{- range $mount.keys }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- end -}}
