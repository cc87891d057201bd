// A language model whose every answer is known beforehand: an OpenAI-compatible server on loopback, for a
// real OpenCode server that must work offline. What it answers is chosen by a tag in the prompt.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::test {

/// Serves `POST /v1/chat/completions` and `GET /v1/models` from a thread of its own until destroyed.
///
/// The scenario is the last tag in the last user message of a request; a message without a known tag is
/// answered like `#plain`. After a tool's result the last user message is still the prompt, so a step is
/// found by counting the tool results that follow it. KEY is any word; what happens "once" happens for the
/// first request that has this very tag, KEY included, in the life of this object.
///
/// | tag                | answer |
/// |--------------------|--------|
/// | `#plain`           | "Hello from the mock model." in 5 deltas |
/// | `#slow:N[:MS]`     | N words "w0 w1 ...", one every MS (45) milliseconds |
/// | `#reason`          | reasoning "Let me think about it.", then "I have thought." |
/// | `#big:N`           | N times "x", in one delta |
/// | `#finish-length`   | "cut short", finish reason `length` |
/// | `#nofinish`        | "Once more. ", and no finish reason: the server asks again and again |
/// | `#read:PATH`       | the read tool, then "I have read it." |
/// | `#bash[:BASE64]`   | "Running it. ", the bash tool (`echo hi`, or the decoded command), then "Tool said
/// hi." | | `#question`        | the question tool (Red or Blue), then "You have answered." | | `#todo` | the
/// todowrite tool, then "Noted." | | `#task[:bash]`     | the task tool with subagent `general` and the
/// prompt "do it #plain" or "do it #bash", then "The helper is done." | | `#e400` `#e401` `#e500` | this
/// status, always | | `#e500once:KEY`    | status 500 once, then "Back again." | |
/// `#e429[:KEY[:S]]`  | status 429 with `Retry-After: S` (2) once, then "Within the limit." | |
/// `#cutonce:KEY`     | "partial " and a reset connection once, then "whole." | | `#garbage`         | a
/// chunk that is not JSON | | `#overflow` | status 400, context length exceeded, always; compacting it fails
/// likewise | | `#overflow-ok:KEY` | the same once; compaction works, then "After the summary." | | `#hang`
/// | nothing, for ever | |
/// `#silent:MS`       | nothing for MS milliseconds, then as `#plain` |
///
/// Requests for a title are answered "Mock Title", requests for a compaction "A short summary."; neither
/// takes a step or counts as a run.
///
/// Thread safety: every member may be called from any thread.
class scripted_model {
public:
    /// Listens on a free port of 127.0.0.1.
    scripted_model();
    ~scripted_model();
    scripted_model(const scripted_model&) = delete;
    scripted_model& operator=(const scripted_model&) = delete;

    [[nodiscard]] unsigned short port() const noexcept;

    /// How many requests had `key` in their last user message: 1 for a prompt that was run once and used
    /// no tool, one more for each tool result and each try.
    [[nodiscard]] std::size_t runs(std::string_view key) const;

    /// The body of the last request that counted as a run or was a compaction; empty before the first.
    [[nodiscard]] std::string last_request() const;

private:
    class server;
    std::unique_ptr<server> server_;
};

} // namespace holdfast::test
