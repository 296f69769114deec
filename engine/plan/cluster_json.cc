#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/plan/cluster.h"
#include "nlohmann/json.hpp"

namespace mneme::plan {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostShown = 64;

// What a message shows of a key or a value that may be anything: short, printable.
std::string Shown(const std::string& text) {
  std::string shown;
  for (char c : text.substr(0, kMostShown)) shown += c >= 0x20 && c < 0x7f ? c : '?';
  return shown;
}

// Reads one object's fields by name; what nobody asked for is unknown. Keeps the first error.
class Object {
 public:
  Object(const Json& json, std::string path, std::string* error)
      : json_(json), path_(std::move(path)), error_(*error) {
    if (!json.is_object()) Refuse("", "must be an object");
  }

  void Text(const char* key, std::string* value) {
    const Json* field = Need(key);
    if (field == nullptr) return;
    if (!field->is_string()) return Refuse(key, "must be a string");
    *value = field->get<std::string>();
    if (value->size() > kMostShown || Shown(*value) != *value) {
      Refuse(key, "must be short and printable");
    }
  }
  void Bool(const char* key, bool* value) {
    const Json* field = Need(key);
    if (field == nullptr) return;
    if (!field->is_boolean()) return Refuse(key, "must be true or false");
    *value = field->get<bool>();
  }
  template <class T>
  void Integer(const char* key, T* value) {
    const Json* field = Need(key);
    if (field == nullptr) return;
    if (!field->is_number_integer()) return Refuse(key, "must be an integer");
    const bool large =
        field->is_number_unsigned() &&
        field->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<T>::max());
    const int64_t number = large ? 0 : field->get<int64_t>();
    if (large || number < std::numeric_limits<T>::min() || number > std::numeric_limits<T>::max()) {
      return Refuse(key, absl::StrCat(field->dump(), " is too large"));
    }
    *value = static_cast<T>(number);
  }
  void Number(const char* key, double* value) {
    const Json* field = Need(key);
    if (field == nullptr) return;
    if (!field->is_number()) return Refuse(key, "must be a number");
    *value = field->get<double>();
  }
  // Calls read(object, element) for each element. REQUIRES: read takes an Object&.
  template <class T, class F>
  void List(const char* key, std::vector<T>* list, bool optional, const F& read) {
    if (optional && error_.empty() && !json_.contains(key)) return;
    const Json* field = Need(key);
    if (field == nullptr) return;
    if (!field->is_array()) return Refuse(key, "must be a list");
    for (size_t i = 0; i < field->size() && error_.empty(); ++i) {
      Object element((*field)[i], absl::StrCat(Path(key), "[", i, "]"), &error_);
      list->emplace_back();
      read(element, &list->back());
      element.Done();
    }
  }
  void Done() {
    if (!error_.empty()) return;
    for (const auto& [key, value] : json_.items()) {
      if (known_.count(key) == 0) return Refuse(Shown(key), "is unknown");
    }
  }

 private:
  std::string Path(const std::string& key) const {
    return path_.empty() || key.empty() ? path_ + key : absl::StrCat(path_, ".", key);
  }
  void Refuse(const std::string& key, const std::string& what) {
    if (error_.empty()) error_ = absl::StrCat(Path(key), ": ", what);
  }
  const Json* Need(const char* key) {
    if (!error_.empty()) return nullptr;
    known_.insert(key);
    const auto it = json_.find(key);
    if (it == json_.end()) Refuse(key, "is missing");
    return it == json_.end() ? nullptr : &*it;
  }

  const Json& json_;
  const std::string path_;
  std::string& error_;
  std::set<std::string> known_;
};

void ReadArithmetic(Object& o, Arithmetic* a) {
  o.Integer("rows", &a->rows);
  o.Number("bf16_flops", &a->bf16_flops);
  o.Number("f32_flops", &a->f32_flops);
}

void ReadCluster(Object& o, Cluster* c) {
  o.Text("name", &c->name);
  o.Text("device", &c->device);
  o.Bool("shared_memory", &c->shared_memory);
  o.List("axes", &c->axes, false, [](Object& axis, Axis* a) {
    axis.Text("name", &a->name);
    axis.Integer("ranks", &a->ranks);
    axis.Number("bytes_per_second", &a->link.bytes_per_second);
    axis.Number("seconds", &a->link.seconds);
    axis.Number("seconds_per_rank", &a->link.seconds_per_rank);
  });
  o.List("memory", &c->memory, false, [](Object& tier, MemoryTier* t) {
    tier.Text("kind", &t->kind);
    tier.Integer("bytes", &t->bytes);
    tier.Number("bytes_per_second", &t->bytes_per_second);
    tier.Number("row_seconds", &t->row_seconds);
  });
  o.List("arithmetic", &c->arithmetic, false, ReadArithmetic);
  o.List("contended", &c->contended, true, [](Object& speed, Speed* s) {
    speed.Integer("ranks", &s->ranks);
    speed.Number("bytes_per_second", &s->bytes_per_second);
    speed.Number("row_seconds", &s->row_seconds);
    speed.List("arithmetic", &s->arithmetic, false, ReadArithmetic);
  });
  o.Done();
}

// nlohmann keeps the last of equal keys: whoever wrote two meant something else.
struct Repeated {
  std::vector<std::set<std::string>> open;
  std::string key;

  bool operator()(int /*depth*/, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key && key.empty() &&
        !open.back().insert(parsed.get<std::string>()).second) {
      key = absl::StrCat("'", Shown(parsed.get<std::string>()), "'");
    }
    return true;
  }
};

Json ArithmeticJson(const std::vector<Arithmetic>& entries) {
  Json list = Json::array();
  for (const Arithmetic& a : entries) {
    list.push_back({{"rows", a.rows}, {"bf16_flops", a.bf16_flops}, {"f32_flops", a.f32_flops}});
  }
  return list;
}

}  // namespace

absl::StatusOr<Cluster> ParseCluster(const std::string& text, const std::string& source) {
  Repeated repeated;
  const Json json = Json::parse(text, std::ref(repeated), /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": is not JSON"));
  }
  if (!repeated.key.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": the key ", repeated.key, " stands twice in one object"));
  }
  Cluster cluster;
  std::string error;
  Object object(json, "", &error);
  ReadCluster(object, &cluster);
  if (error.empty()) error = CheckCluster(cluster);
  if (!error.empty()) return absl::InvalidArgumentError(absl::StrCat(source, ": ", error));
  return cluster;
}

std::string ClusterJson(const Cluster& c) {
  Json json = {{"name", c.name}, {"device", c.device}, {"shared_memory", c.shared_memory}};
  json["axes"] = Json::array();
  for (const Axis& a : c.axes) {
    json["axes"].push_back({{"name", a.name},
                            {"ranks", a.ranks},
                            {"bytes_per_second", a.link.bytes_per_second},
                            {"seconds", a.link.seconds},
                            {"seconds_per_rank", a.link.seconds_per_rank}});
  }
  json["memory"] = Json::array();
  for (const MemoryTier& t : c.memory) {
    json["memory"].push_back({{"kind", t.kind},
                              {"bytes", t.bytes},
                              {"bytes_per_second", t.bytes_per_second},
                              {"row_seconds", t.row_seconds}});
  }
  json["arithmetic"] = ArithmeticJson(c.arithmetic);
  if (!c.contended.empty()) json["contended"] = Json::array();
  for (const Speed& s : c.contended) {
    json["contended"].push_back({{"ranks", s.ranks},
                                 {"bytes_per_second", s.bytes_per_second},
                                 {"row_seconds", s.row_seconds},
                                 {"arithmetic", ArithmeticJson(s.arithmetic)}});
  }
  return json.dump(2) + "\n";
}

}  // namespace mneme::plan
