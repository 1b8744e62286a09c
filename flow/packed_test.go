package flow

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// filled draws a value of every type that a line is made of, unexported fields
// too: a field that is added and not packed is found.
func filled(t *rapid.T, v reflect.Value) {
	switch at := reflect.New(v.Type()).Interface().(type) {
	case *time.Time:
		ms := rapid.OneOf(rapid.Int64Range(-1, 1), rapid.Int64Range(0, 1<<43)).Draw(t, "time")
		if rapid.Bool().Draw(t, "ever") {
			*at = time.UnixMilli(ms).UTC()
		}
		v.Set(reflect.ValueOf(*at))
		return
	case *bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Field(i)
			if v.Type().Field(i).Name == "Unchanged" { // which is said in a Change only
				continue
			}
			if !field.CanSet() {
				field = reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem()
			}
			filled(t, field)
		}
	case reflect.Slice:
		if n := rapid.IntRange(0, 3).Draw(t, "length"); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				filled(t, v.Index(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(rapid.Byte().Draw(t, "byte")))
		}
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.String(), rapid.StringN(130, 300, -1)).Draw(t, "string"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "number"))
	default:
		t.Fatalf("a line has a %s, which this test does not fill in", v.Kind())
	}
}

func TestPackedLinesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var line Line
		filled(t, reflect.ValueOf(&line).Elem())
		packed := line.Pack()
		// Not by cmp, to which no two empty PINs are equal.
		if got := packed.Unpack(); !reflect.DeepEqual(got, line) {
			t.Fatalf("a packed line comes back as\n%#v\nand was\n%#v", got, line)
		}
		if packed.Version() != line.Version {
			t.Errorf("its version is %d, not %d", packed.Version(), line.Version)
		}
	})
}

func TestAPackedLineIsNotPrinted(t *testing.T) {
	line := Line{Conversations: []Conversation{{pin: "482913"}}}
	packed := line.Pack()
	if got := fmt.Sprintf("%s %v %q %x %+v", packed, packed, packed, packed, struct{ P Packed }{packed}); got != "[a line] [a line] [a line] [a line] {P:[a line]}" {
		t.Errorf("it prints as %s", got)
	}
}

func BenchmarkPacked(b *testing.B) {
	now := time.UnixMilli(1_795_000_000_000).UTC()
	line := Line{
		LineID: LineID{"+14155550123", "+18005550100"}, Version: 2, Texts: Recent{now}, Serials: Recent{now},
		Conversations: []Conversation{{
			Line: LineID{"+14155550123", "+18005550100"}, State: Asked, Named: Named{Reference: "KTR204"},
			Entries: []Entry{{"name", "Ada Lovelace"}, {"address", "12 St James Square"}, {"items", "1 engine"}},
			Serial:  Serial{N: 1, Key: "0badcafe", Length: 6, Named: Named{Reference: "KTR204"}, Expires: now},
			Texted:  now, Created: now, Deadline: now, pin: "482913",
		}},
	}
	packed := line.Pack()
	b.ReportMetric(float64(len(packed)), "bytes")
	b.Run("pack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			line.Pack()
		}
	})
	b.Run("unpack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			packed.Unpack()
		}
	})
	b.Run("clone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			line.Clone()
		}
	})
}
