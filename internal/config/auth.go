package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/auth"
)

type Auth struct {
	Mode          string        `mapstructure:"mode"`           // AuthNone or AuthJWT
	AllowInsecure bool          `mapstructure:"allow_insecure"` // accept what is refused in production
	Secrets       bridge.Secret `mapstructure:"secrets"`        // kid:secret, with commas or white space between
	KeyFiles      []string      `mapstructure:"key_files"`
	JWKSURL       string        `mapstructure:"jwks_url"`
	JWKSRefresh   time.Duration `mapstructure:"jwks_refresh" range:"10s.."`
	Issuer        string        `mapstructure:"issuer"`
	Audience      []string      `mapstructure:"audience"`
	UserClaim     string        `mapstructure:"user_claim"`
	Leeway        time.Duration `mapstructure:"leeway"`
	Cookie        string        `mapstructure:"cookie"`
	WarnBefore    time.Duration `mapstructure:"warn_before" range:"0s.."`
	PublishScope  string        `mapstructure:"publish_scope"`
	APIKeys       []string      `mapstructure:"api_keys"` // name:sha256
}

// Values of auth.mode.
const (
	AuthNone = "none" // clients may name any user
	AuthJWT  = "jwt"  // the user is the one in the client's token
)

// Values of node.env that change what is allowed. Any other value has no effect.
const (
	Development = "development" // required for a plain development start
	Production  = "production"  // insecure settings need auth.allow_insecure
)

func defaultAuth() Auth {
	return Auth{
		Mode:         AuthNone,
		KeyFiles:     []string{},
		JWKSRefresh:  15 * time.Minute,
		Audience:     []string{},
		UserClaim:    "sub",
		Leeway:       30 * time.Second,
		WarnBefore:   time.Minute,
		PublishScope: "payload:send",
		APIKeys:      []string{},
	}
}

// Tokens returns the configuration of the verifier and of the token command.
func (a Auth) Tokens() auth.Config {
	return auth.Config{
		Secrets: a.SecretEntries(), KeyFiles: a.KeyFiles, JWKSURL: a.JWKSURL, JWKSRefresh: a.JWKSRefresh,
		Issuer: a.Issuer, Audience: a.Audience, UserClaim: a.UserClaim, Leeway: a.Leeway,
	}
}

func (c Config) checkAuth(v *validation) {
	a := c.Auth
	hasKeys := len(a.SecretEntries())+len(a.KeyFiles) > 0 || a.JWKSURL != ""
	v.require(a.Mode == AuthNone || a.Mode == AuthJWT, "auth.mode", a.Mode, "must be none or jwt")
	v.require(a.Mode != AuthJWT || hasKeys, "auth.mode", a.Mode, "needs keys: auth.secrets, auth.key_files or auth.jwks_url")
	v.require(a.Mode != AuthNone || c.Node.Env != Production || a.AllowInsecure, "auth.mode", a.Mode,
		"must be jwt in production (NODE_ENV), where nobody should be believed unasked; auth.allow_insecure: true accepts it")
	v.require(len(c.Origins) > 0 || c.Node.Env != Production || a.AllowInsecure, "origins", c.Origins,
		"must name the pages that may connect in production (NODE_ENV), such as https://codewar.example; auth.allow_insecure: true lets every page in")
	for _, entry := range a.SecretEntries() {
		if _, err := auth.ParseSecret(entry); err != nil {
			v.require(false, "auth.secrets", entry, err.Error())
		}
	}
	v.require(a.JWKSURL == "" || a.validJWKS(), "auth.jwks_url", a.JWKSURL, "must be an https URL, or http on this machine; auth.allow_insecure: true accepts http elsewhere")
	v.require(a.UserClaim != "", "auth.user_claim", a.UserClaim, "must name a claim, such as sub")
	v.require(0 <= a.Leeway && a.Leeway <= 5*time.Minute, "auth.leeway", a.Leeway, "must be 0s to 5m")
	v.require(a.Cookie == "" || len(c.Origins) > 0, "auth.cookie", a.Cookie, "needs origins: a browser sends a cookie for whichever page asks")
	v.require(!strings.ContainsAny(a.Cookie, " \t;,=\""), "auth.cookie", a.Cookie, "must be the name of a cookie")
	v.require(a.PublishScope != "" && !strings.Contains(a.PublishScope, " "), "auth.publish_scope", a.PublishScope, "must be one scope, without spaces")
	checkAPIKeys(v, "auth.api_keys", a.APIKeys)
	checkAPIKeys(v, "ops.keys", c.Ops.Keys)
}

func checkAPIKeys(v *validation, key string, entries []string) {
	var names []string
	for _, entry := range entries {
		k, err := auth.ParseAPIKey(entry)
		if err != nil {
			v.require(false, key, maskEntry(entry), err.Error())
			continue
		}
		v.require(!slices.Contains(names, k.Name), key, k.Name, "must have each name once")
		names = append(names, k.Name)
	}
}

// SecretEntries returns the entries of auth.secrets.
func (a Auth) SecretEntries() []string {
	return strings.FieldsFunc(a.Secrets.Reveal(), func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// validJWKS accepts https, and http on this machine, where the keys cannot be replaced in transit.
func (a Auth) validJWKS() bool {
	u, err := url.Parse(a.JWKSURL)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && (a.AllowInsecure || IsLoopback(u.Hostname()))
}

// IsLoopback reports whether a host is localhost or a loopback address.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// maskEntry returns only the name of an entry: the rest may be the key itself instead of its hash.
func maskEntry(entry string) string {
	name, _, named := strings.Cut(entry, ":")
	if !named || !auth.ValidName(name) {
		return bridge.Mask
	}
	return name + ":" + bridge.Mask
}
