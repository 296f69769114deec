#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/verbs.h"
#include "loader/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace mneme::cli {
namespace {

using Json = nlohmann::ordered_json;
using loader::Tokenizer;

absl::StatusOr<bool> BoolOr(const Json& line, const char* key, bool otherwise) {
  const auto found = line.find(key);
  if (found == line.end()) return otherwise;
  if (!found->is_boolean()) {
    return absl::InvalidArgumentError(absl::StrCat(key, ": neither true nor false"));
  }
  return found->get<bool>();
}

absl::StatusOr<Json> TokenizeLine(const Tokenizer& tokenizer, const Json& line) {
  const auto text = line.find("text");
  if (text == line.end() || !text->is_string()) {
    return absl::InvalidArgumentError("text: missing, or not a string");
  }
  const absl::StatusOr<bool> add_special = BoolOr(line, "add_special", true);
  if (!add_special.ok()) return add_special.status();
  const absl::StatusOr<std::vector<int32_t>> ids =
      tokenizer.Encode(text->get_ref<const std::string&>(), *add_special);
  if (!ids.ok()) return ids.status();
  return Json{{"ids", *ids}};
}

// What a stream sends for each id behind the first `context` ones, which are its prompt, and at its
// end.
Json StreamPieces(const Tokenizer& tokenizer, std::span<const int32_t> ids, size_t context,
                  bool skip_special) {
  loader::StreamDecoder decoder(&tokenizer, skip_special);
  decoder.Reset(ids.first(context));
  std::vector<std::string> pieces;
  for (const int32_t id : ids.subspan(context)) decoder.Append(id, &pieces.emplace_back());
  decoder.Flush(&pieces.emplace_back());
  return Json{{"pieces", pieces}};
}

absl::StatusOr<Json> DetokenizeLine(const Tokenizer& tokenizer, const Json& line) {
  const auto ids = line.find("ids");
  if (ids == line.end() || !ids->is_array()) {
    return absl::InvalidArgumentError("ids: missing, or not a list");
  }
  std::vector<int32_t> values;
  for (const Json& id : *ids) {
    // Unsigned covers every non-negative integer that nlohmann parses.
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
      return absl::InvalidArgumentError(absl::StrCat("ids: ", id.dump(), " is not a token id"));
    }
    values.push_back(id.get<int32_t>());
  }
  const absl::StatusOr<bool> skip_special = BoolOr(line, "skip_special", true);
  if (!skip_special.ok()) return skip_special.status();
  const absl::StatusOr<bool> stream = BoolOr(line, "stream", false);
  if (!stream.ok()) return stream.status();
  const auto context = line.find("context");
  if (context == line.end()) {
    if (*stream) return StreamPieces(tokenizer, values, 0, *skip_special);
    return Json{{"text", tokenizer.Decode(values, *skip_special)}};
  }
  if (!*stream || !context->is_number_unsigned() || context->get<uint64_t>() > values.size()) {
    return absl::InvalidArgumentError(absl::StrCat("context: ", context->dump(), " is not in [0, ",
                                                   values.size(), "], or without stream"));
  }
  return StreamPieces(tokenizer, values, context->get<size_t>(), *skip_special);
}

using LineHandler = std::function<absl::StatusOr<Json>(const Tokenizer&, const Json&)>;

// Answers each line of standard input with one line. Returns how many were bad.
int64_t AnswerJsonLines(const Invocation& invocation, const Tokenizer& tokenizer,
                        const LineHandler& handler) {
  int64_t bad = 0;
  std::string line;
  while (std::getline(invocation.in, line, '\n')) {
    const Json parsed = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    absl::StatusOr<Json> answer = parsed.is_object()
                                      ? handler(tokenizer, parsed)
                                      : absl::InvalidArgumentError("the line is not a JSON object");
    if (!answer.ok()) {
      ++bad;
      answer = Json{{"error", std::string(answer.status().message())}};
    }
    invocation.out << answer->dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    // A caller that waits for each answer gets it.
    if (invocation.in.rdbuf()->in_avail() <= 0) invocation.out.flush();
  }
  invocation.out.flush();
  return bad;
}

absl::Status ParseIds(const std::string& line, std::vector<int32_t>* ids) {
  if (absl::Status s = ParseIntegers(line, ids); !s.ok()) return s;
  for (const int32_t id : *ids) {
    if (id < 0) return absl::InvalidArgumentError(absl::StrCat("ids: ", id, " is not a token id"));
  }
  return absl::OkStatus();
}

// Without --json: lines of text, lines of ids.
int64_t AnswerPlainLines(const Invocation& invocation, const Tokenizer& tokenizer, bool encode) {
  int64_t bad = 0;
  int64_t number = 0;
  std::string line;
  while (std::getline(invocation.in, line, '\n')) {
    ++number;
    absl::Status status;
    if (encode) {
      const absl::StatusOr<std::vector<int32_t>> ids = tokenizer.Encode(line, true);
      status = ids.status();
      if (ids.ok()) invocation.out << absl::StrJoin(*ids, " ") << "\n";
    } else {
      std::vector<int32_t> ids;
      status = ParseIds(line, &ids);
      if (status.ok()) invocation.out << tokenizer.Decode(ids, true) << "\n";
    }
    if (!status.ok()) {
      ++bad;
      invocation.err << "mneme " << (encode ? "tokenize" : "detokenize") << ": "
                     << "line " << number << ": " << std::string(status.message()) << std::endl;
    }
  }
  invocation.out.flush();
  return bad;
}

int Run(const Invocation& invocation, FlagTable* flags, bool encode, const LineHandler& handler) {
  std::string directory;
  bool json = false;
  flags->Add("tokenizer", &directory, "DIR", "The folder that holds tokenizer.json.");
  flags->Add("json", &json, "Lines are JSON objects; a bad one gives {\"error\"}.");
  int exit_status = 0;
  if (!ParseFlags(invocation, flags, 0, &exit_status)) return exit_status;
  if (directory.empty()) {
    invocation.err << "mneme " << flags->verb() << ": --tokenizer is needed" << std::endl;
    return kExitUsage;
  }
  const absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(directory);
  if (!tokenizer.ok()) return Fail(invocation, flags->verb(), tokenizer.status());
  const int64_t bad = json ? AnswerJsonLines(invocation, **tokenizer, handler)
                           : AnswerPlainLines(invocation, **tokenizer, encode);
  if (bad == 0) return 0;
  invocation.err << "mneme " << flags->verb() << ": " << bad << " bad lines" << std::endl;
  return kExitFailed;
}

}  // namespace

int RunTokenize(const Invocation& invocation) {
  FlagTable flags(
      "tokenize", "",
      "Reads lines of text from standard input and prints their token ids. With --json "
      "a line is {\"text\": ..., \"add_special\": true} and its answer {\"ids\": [...]}.");
  return Run(invocation, &flags, /*encode=*/true, TokenizeLine);
}

int RunDetokenize(const Invocation& invocation) {
  FlagTable flags(
      "detokenize", "",
      "Reads lines of token ids from standard input and prints their text. With --json "
      "a line is {\"ids\": [...], \"skip_special\": true} and its answer {\"text\": "
      "...}; with \"stream\": true it is {\"pieces\": [...]}, what a stream sends for each "
      "id and at its end, behind a prompt of the first \"context\" ids.");
  return Run(invocation, &flags, /*encode=*/false, DetokenizeLine);
}

}  // namespace mneme::cli
