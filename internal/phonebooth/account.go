package phonebooth

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
)

// What a program that checks its own set-up asks of the account beside texts.

type accountResource struct {
	XMLName      xml.Name `json:"-" xml:"Account"`
	AuthToken    string   `json:"auth_token" xml:"AuthToken"`
	FriendlyName string   `json:"friendly_name" xml:"FriendlyName"`
	Sid          string   `json:"sid" xml:"Sid"`
	Status       string   `json:"status" xml:"Status"`
	Type         string   `json:"type" xml:"Type"`
	URI          string   `json:"uri" xml:"Uri"`
}

// fetchAccount is GET …/Accounts/{Sid}. It tells no token, as to an API key.
func (b *Booth) fetchAccount() (int, resource, *restError) {
	return http.StatusOK, &accountResource{
		FriendlyName: "phonebooth", Sid: b.cfg.AccountSid, Status: "active", Type: "Full",
		URI: strings.TrimSuffix(apiRoot, "/") + "/" + b.cfg.AccountSid + ".json",
	}, nil
}

type numberResource struct {
	XMLName        xml.Name        `json:"-" xml:"IncomingPhoneNumber"`
	AccountSid     string          `json:"account_sid" xml:"AccountSid"`
	APIVersion     string          `json:"api_version" xml:"ApiVersion"`
	Capabilities   map[string]bool `json:"capabilities" xml:"-"`
	FriendlyName   string          `json:"friendly_name" xml:"FriendlyName"`
	PhoneNumber    string          `json:"phone_number" xml:"PhoneNumber"`
	Sid            string          `json:"sid" xml:"Sid"`
	SmsFallbackURL maybe           `json:"sms_fallback_url" xml:"SmsFallbackUrl"`
	SmsMethod      string          `json:"sms_method" xml:"SmsMethod"`
	SmsURL         maybe           `json:"sms_url" xml:"SmsUrl"`
	URI            string          `json:"uri" xml:"Uri"`
}

type numberList struct {
	XMLName xml.Name `json:"-" xml:"IncomingPhoneNumbers"`
	page
	Numbers []*numberResource `json:"incoming_phone_numbers"`
}

// listNumbers is GET …/IncomingPhoneNumbers: the account's numbers and where
// their texts go.
func (b *Booth) listNumbers(uri, only string) (int, resource, *restError) {
	q := url.Values{}
	if only != "" {
		q.Set("PhoneNumber", only)
	}
	list := numberList{Numbers: []*numberResource{}}
	for i, n := range b.cfg.Numbers {
		if only != "" && !strings.Contains(n, strings.TrimSpace(only)) {
			continue
		}
		sid := numberSid(b.cfg.AccountSid, i)
		list.Numbers = append(list.Numbers, &numberResource{
			AccountSid: b.cfg.AccountSid, APIVersion: apiVersion,
			Capabilities: map[string]bool{"fax": false, "mms": true, "sms": true, "voice": false},
			FriendlyName: n, PhoneNumber: n, Sid: sid,
			SmsURL: maybe(b.cfg.InboundURL), SmsFallbackURL: maybe(b.cfg.FallbackURL), SmsMethod: http.MethodPost,
			URI: apiRoot + b.cfg.AccountSid + "/IncomingPhoneNumbers/" + sid + ".json",
		})
	}
	list.page = turn(uri, q, 50, 0, len(list.Numbers))
	return http.StatusOK, list, nil
}

// numberSid names the account's i-th number, the same at every start.
func numberSid(account string, i int) string {
	const hex = "0123456789abcdef"
	return "PN" + account[2:32] + string([]byte{hex[i/16%16], hex[i%16]})
}

type mediaList struct {
	XMLName xml.Name `json:"-" xml:"MediaList"`
	page
	Media []struct{} `json:"media_list"`
}

// listMedia is GET …/Messages/{Sid}/Media: the booth keeps no pictures.
func (b *Booth) listMedia(m *message, _ url.Values) (int, resource, *restError) {
	uri := apiRoot + b.cfg.AccountSid + "/Messages/" + m.sid + "/Media.json"
	return http.StatusOK, mediaList{page: turn(uri, url.Values{}, 50, 0, 0), Media: []struct{}{}}, nil
}
