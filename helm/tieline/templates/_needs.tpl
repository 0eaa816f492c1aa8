{{- /* What the release needs of the cluster beside what it makes itself. */ -}}

{{- /* Kinds that others define: each with the value that asks for it and what brings it, as YAML. */ -}}
{{- define "tieline.neededKinds" -}}
{{- $kinds := dict -}}
{{- $roles := include "tieline.roles" . | fromYaml -}}
{{- $crds := "install the chart helm/tieline-crds first, in the version of this one" -}}
{{- if hasKey $roles "operator" -}}
{{- range list "SurgePolicy" "SurgeWindow" "SurgeOverride" -}}
{{- $_ := set $kinds (printf "scaling.tieline.dev/v1alpha1/%s" .) (dict "value" "roles.operator.enabled" "way" (printf "%s, or set roles.operator.enabled and defaults.surge.enabled to false" $crds)) -}}
{{- end -}}
{{- end -}}
{{- if .Values.podMonitor.enabled -}}
{{- $_ := set $kinds "monitoring.coreos.com/v1/PodMonitor" (dict "value" "podMonitor.enabled" "way" "install the Prometheus operator first, or set podMonitor.enabled to false") -}}
{{- end -}}
{{- if .Values.alerts.enabled -}}
{{- $_ := set $kinds "monitoring.coreos.com/v1/PrometheusRule" (dict "value" "alerts.enabled" "way" "install the Prometheus operator first, or set alerts.enabled to false") -}}
{{- end -}}
{{- range $name, $role := $roles -}}
{{- if or $role.capacityBuffer.replicas $role.capacityBuffer.percentage -}}
{{- $_ := set $kinds (printf "autoscaling.x-k8s.io/%s/CapacityBuffer" $.Values.capacityBuffers.apiVersion) (dict "value" (printf "roles.%s.capacityBuffer" $name) "way" "set capacityBuffers.apiVersion to what the cluster's node autoscaler serves, or remove the buffer") -}}
{{- end -}}
{{- end -}}
{{- toYaml $kinds -}}
{{- end -}}

{{- /* Secrets that others make: a list of the value that names it, its name and its keys, as YAML. */ -}}
{{- define "tieline.neededSecrets" -}}
{{- $needed := list -}}
{{- $values := .Values -}}
{{- $trial := $values.trial.enabled -}}
{{- $roles := include "tieline.roles" . | fromYaml -}}
{{- range $name, $role := $roles -}}
{{- $keys := values $role.secretSettings | sortAlpha -}}
{{- if not $trial -}}
{{- $keys = append $keys "nats-password" -}}
{{- if $role.isService -}}
{{- $keys = concat $keys (list $values.database.passwordKey "secret-key") -}}
{{- end -}}
{{- end -}}
{{- $needed = append $needed (dict "value" (printf "roles.%s.existingSecret" $name) "name" $role.existingSecret "keys" $keys) -}}
{{- end -}}
{{- $tlsKeys := list "tls.crt" "tls.key" "ca.crt" -}}
{{- if and $values.tls.clientCertificates (hasKey $roles "edge") -}}
{{- $tlsKeys = append $tlsKeys "tls-combined.pem" -}}
{{- end -}}
{{- $needed = concat $needed (list
  (dict "value" "trial.existingSecret" "name" $values.trial.existingSecret "keys" (include "tieline.trialKeys" . | fromYamlArray))
  (dict "value" "migrations.existingSecret" "name" $values.migrations.existingSecret "keys" (list $values.database.passwordKey "nats-password"))
  (dict "value" "database.caExistingSecret" "name" $values.database.caExistingSecret "keys" (list "ca.crt"))
  (dict "value" "nats.tls.caExistingSecret" "name" $values.nats.tls.caExistingSecret "keys" (list "ca.crt"))
  (dict "value" "tls.existingSecret" "name" $values.tls.existingSecret "keys" $tlsKeys)
  (dict "value" "edge.tlsExistingSecret" "name" $values.edge.tlsExistingSecret "keys" (list $values.edge.tlsKey))
  (dict "value" "test.existingSecret" "name" $values.test.existingSecret "keys" (list $values.test.passwordKey))
  (dict "value" "test.caExistingSecret" "name" $values.test.caExistingSecret "keys" (list "ca.crt"))) -}}
{{- range $values.image.pullSecrets -}}
{{- $needed = append $needed (dict "value" "image.pullSecrets" "name" . "keys" list) -}}
{{- end -}}
{{- toYaml $needed -}}
{{- end -}}
