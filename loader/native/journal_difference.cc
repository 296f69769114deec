#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "loader/native/journal.h"

namespace mneme::loader {
namespace {

// The first of several changes: "WHAT: THEN when the conversion began, NOW now".
class Changes {
 public:
  explicit Changes(const char* when) : when_(when) {}

  template <class T>
  void Add(const std::string& what, const T& then, const T& now) {
    if (first_.empty() && then != now) {
      first_ = absl::StrCat(what, ": ", then, " ", when_, ", ", now, " now");
    }
  }
  void AddKeys(const std::vector<std::string>& then, const std::vector<std::string>& now) {
    const auto list = [](const std::vector<std::string>& keys) {
      return absl::StrCat("[", absl::StrJoin(keys, " "), "]");
    };
    Add("ignored config keys", list(then), list(now));
  }
  void AddDType(Manifest::DType then, Manifest::DType now) {
    Add<std::string>("--dtype", ManifestDTypeName(then), ManifestDTypeName(now));
  }
  // Whether a file is there, its size and its hash; then `more` of each.
  template <class File, class More>
  void AddFiles(const std::vector<File>& then, const std::vector<JournalSource>& now,
                const More& more) {
    std::map<std::string, const JournalSource*> by_name;
    for (const JournalSource& file : now) by_name.emplace(file.name, &file);
    for (const File& file : then) {
      const auto found = by_name.find(file.name);
      if (found == by_name.end()) return Add<std::string>(file.name, "a source file", "none");
      Add(file.name + ": bytes", file.bytes, found->second->bytes);
      Add(file.name + ": hash", file.hash, found->second->hash);
      more(file, *found->second);
      by_name.erase(found);
    }
    for (const auto& [name, file] : by_name) Add<std::string>(name, "no source file", "one");
  }
  const std::string& first() const { return first_; }

 private:
  const char* const when_;
  std::string first_;
};

}  // namespace

std::string JournalDifference(const Journal& then, const Journal& now) {
  Changes changes("when the conversion began");
  changes.AddFiles(then.source, now.source, [&](const JournalSource& a, const JournalSource& b) {
    changes.Add(a.name + ": modified", a.modified, b.modified);
  });
  changes.AddDType(then.dtype, now.dtype);
  changes.AddKeys(then.ignored_config_keys, now.ignored_config_keys);
  changes.Add("bytes of a shard", then.shard_bytes, now.shard_bytes);
  changes.Add("conversion", then.conversion, now.conversion);
  changes.Add("shards", then.shards, now.shards);
  return changes.first();
}

std::string ManifestDifference(const Manifest& then, const Journal& now) {
  if (then.conversion == now.conversion) return "";
  Changes changes("when it was converted");
  changes.AddFiles(then.source, now.source, [](const ManifestFile&, const JournalSource&) {});
  changes.AddDType(then.dtype, now.dtype);
  changes.AddKeys(then.ignored_config_keys, now.ignored_config_keys);
  // Its shard_bytes or the way of hashing is another one.
  changes.Add("conversion (another --shard-mb, or another version)", then.conversion,
              now.conversion);
  return changes.first();
}

}  // namespace mneme::loader
