#include "engine/engine.h"

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "engine/schedule/schedule_engine.h"
#include "loader/tokenizer/tokenizer.h"

namespace mneme {
namespace {

class TokenizerTextStream : public schedule::TextStream {
 public:
  TokenizerTextStream(const loader::Tokenizer* tokenizer, bool skip_special)
      : decoder_(tokenizer, skip_special) {}

  void Reset(std::span<const int32_t> context) override { decoder_.Reset(context); }
  void Append(int32_t id, std::string* out) override { decoder_.Append(id, out); }
  void Flush(std::string* out) override { decoder_.Flush(out); }

 private:
  loader::StreamDecoder decoder_;
};

}  // namespace

std::unique_ptr<Engine> MakeEngine(runtime::Executor* executor,
                                   const loader::ModelDescription& model,
                                   const loader::Tokenizer* tokenizer,
                                   const ScheduleOptions& options) {
  schedule::TextStreamFactory streams;
  if (tokenizer != nullptr) {
    streams = [tokenizer](bool skip_special) {
      return std::make_unique<TokenizerTextStream>(tokenizer, skip_special);
    };
  }
  return std::make_unique<schedule::ScheduleEngine>(executor, model, tokenizer, std::move(streams),
                                                    options);
}

}  // namespace mneme
