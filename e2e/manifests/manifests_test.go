// Package manifests holds deploy/kubernetes against Kubernetes' own types. It is a module of its own,
// so that the bridge's does not know of them.
package manifests

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const dir = "../../deploy/kubernetes"

// kinds are the types that each kind must decode into, unknown fields being errors.
var kinds = map[string]func() metav1.Object{
	"v1/ServiceAccount":                      func() metav1.Object { return new(corev1.ServiceAccount) },
	"v1/ConfigMap":                           func() metav1.Object { return new(corev1.ConfigMap) },
	"v1/Secret":                              func() metav1.Object { return new(corev1.Secret) },
	"v1/Service":                             func() metav1.Object { return new(corev1.Service) },
	"apps/v1/Deployment":                     func() metav1.Object { return new(appsv1.Deployment) },
	"policy/v1/PodDisruptionBudget":          func() metav1.Object { return new(policyv1.PodDisruptionBudget) },
	"autoscaling/v2/HorizontalPodAutoscaler": func() metav1.Object { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"networking.k8s.io/v1/Ingress":           func() metav1.Object { return new(networkingv1.Ingress) },
	"networking.k8s.io/v1/NetworkPolicy":     func() metav1.Object { return new(networkingv1.NetworkPolicy) },
}

// kustomization is as much of it as we use.
type kustomization struct {
	metav1.TypeMeta `json:",inline"`
	Resources       []string `json:"resources"`
	Labels          []struct {
		Pairs            map[string]string `json:"pairs"`
		IncludeSelectors bool              `json:"includeSelectors"`
	} `json:"labels"`
	Images []struct{ Name, NewName, NewTag string } `json:"images"`
}

// objects decodes every document of every file in the directory but the kustomization.
func objects(t *testing.T) map[string]metav1.Object {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	all := map[string]metav1.Object{}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range bytes.SplitSeq(text, []byte("\n---\n")) {
			var kind metav1.TypeMeta
			if err := yaml.Unmarshal(doc, &kind); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if kind.APIVersion == "monitoring.coreos.com/v1" {
				continue // the Prometheus operator's own, which is not Kubernetes'
			}
			make := kinds[kind.APIVersion+"/"+kind.Kind]
			if make == nil {
				t.Fatalf("%s: unexpected kind %s/%s", file, kind.APIVersion, kind.Kind)
			}
			o := make()
			if err := yaml.UnmarshalStrict(doc, o); err != nil {
				t.Fatalf("%s: %s: %v", file, kind.Kind, err)
			}
			key := kind.Kind + "/" + o.GetName()
			if all[key] != nil {
				t.Errorf("%s is there twice", key)
			}
			all[key] = o
		}
	}
	return all
}

// get picks an object of its kind.
func get[T metav1.Object](t *testing.T, all map[string]metav1.Object, key string) T {
	t.Helper()
	o, ok := all[key].(T)
	if !ok {
		t.Fatalf("there is no %s", key)
	}
	return o
}

func TestManifestsFitTogether(t *testing.T) {
	all := objects(t)
	deployment := get[*appsv1.Deployment](t, all, "Deployment/socketbridge")
	labels := deployment.Spec.Template.Labels
	covers := func(what string, selector map[string]string) {
		if len(selector) == 0 {
			t.Errorf("%s selects everything", what)
		}
		for k, v := range selector {
			if labels[k] != v {
				t.Errorf("%s selects %s=%s, pods have %q", what, k, v, labels[k])
			}
		}
	}
	covers("the deployment", deployment.Spec.Selector.MatchLabels)
	container := deployment.Spec.Template.Spec.Containers[0]
	ports := map[string]int32{}
	for _, p := range container.Ports {
		ports[p.Name] = p.ContainerPort
	}
	for _, name := range []string{"socketbridge", "socketbridge-ops"} {
		service := get[*corev1.Service](t, all, "Service/"+name)
		covers("service "+name, service.Spec.Selector)
		for _, p := range service.Spec.Ports {
			if ports[p.TargetPort.StrVal] == 0 {
				t.Errorf("service %s targets port %s, the container has %v", name, p.TargetPort.String(), ports)
			}
		}
	}
	covers("the disruption budget", get[*policyv1.PodDisruptionBudget](t, all, "PodDisruptionBudget/socketbridge").Spec.Selector.MatchLabels)
	covers("the network policy", get[*networkingv1.NetworkPolicy](t, all, "NetworkPolicy/socketbridge").Spec.PodSelector.MatchLabels)
	for _, c := range deployment.Spec.Template.Spec.TopologySpreadConstraints {
		covers("topology spread", c.LabelSelector.MatchLabels)
	}
	hpa := get[*autoscalingv2.HorizontalPodAutoscaler](t, all, "HorizontalPodAutoscaler/socketbridge")
	if hpa.Spec.ScaleTargetRef.Kind != "Deployment" || hpa.Spec.ScaleTargetRef.Name != deployment.Name || deployment.Spec.Replicas != nil {
		t.Errorf("the autoscaler's target is %+v; replicas are its own to set", hpa.Spec.ScaleTargetRef)
	}
	for _, rule := range get[*networkingv1.Ingress](t, all, "Ingress/socketbridge").Spec.Rules {
		for _, path := range rule.HTTP.Paths {
			service := get[*corev1.Service](t, all, "Service/"+path.Backend.Service.Name)
			if service.Spec.Ports[0].Name != path.Backend.Service.Port.Name {
				t.Errorf("ingress names port %q of %s", path.Backend.Service.Port.Name, service.Name)
			}
		}
	}
	for _, probe := range []*corev1.Probe{container.ReadinessProbe, container.LivenessProbe, container.StartupProbe} {
		if ports[probe.HTTPGet.Port.StrVal] == 0 {
			t.Errorf("probe of %s asks port %s", probe.HTTPGet.Path, probe.HTTPGet.Port.String())
		}
	}
	if container.ReadinessProbe.HTTPGet.Path != "/readyz" || container.LivenessProbe.HTTPGet.Path != "/livez" {
		t.Error("readiness is /readyz, liveness /livez")
	}
	if s := container.SecurityContext; !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !*deployment.Spec.Template.Spec.SecurityContext.RunAsNonRoot {
		t.Error("not confined")
	}
	for _, from := range container.EnvFrom {
		get[*corev1.ConfigMap](t, all, "ConfigMap/"+from.ConfigMapRef.Name)
	}
	mounted := map[string]bool{}
	for _, m := range container.VolumeMounts {
		mounted[m.Name] = true
	}
	for _, v := range deployment.Spec.Template.Spec.Volumes {
		if !mounted[v.Name] {
			t.Errorf("volume %s is not mounted", v.Name)
		}
		if v.Secret != nil {
			get[*corev1.Secret](t, all, "Secret/"+v.Secret.SecretName)
		}
	}
}

// TestKustomizationNamesEveryFile: but for those that need an operator of their own.
func TestKustomizationNamesEveryFile(t *testing.T) {
	f, err := os.Open(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	var k kustomization
	if err := yaml.UnmarshalStrict(text, &k); err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{"kustomization.yaml": true, "servicemonitor.yaml": true, "secret.example.yaml": true}
	for _, r := range k.Resources {
		named[r] = true
		if _, err := os.Stat(filepath.Join(dir, r)); err != nil {
			t.Error(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !named[filepath.Base(file)] {
			t.Errorf("%s is in no kustomization", file)
		}
	}
}
