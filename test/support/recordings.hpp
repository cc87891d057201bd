// Recorded streams for tests: their events, and what REST would have said at any moment of them.
#pragma once

#include "support/paths.hpp"

#include <holdfast/opencode/event.hpp>
#include <holdfast/opencode/turn_tracker.hpp>
#include <holdfast/sse/parser.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::test {

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in)
        throw std::runtime_error("cannot read " + path.string());
    return {std::istreambuf_iterator<char>(in), {}};
}

/// All recordings of event streams.
inline std::vector<std::filesystem::path> all_recordings() {
    std::vector<std::filesystem::path> all;
    for (const char* folder : {"transcripts", "recordings"})
        for (const auto& entry : std::filesystem::directory_iterator(data_folder() / folder))
            if (entry.path().extension() == ".sse")
                all.push_back(entry.path());
    std::sort(all.begin(), all.end());
    return all;
}

inline std::filesystem::path recording_path(std::string_view stem) {
    for (const auto& path : all_recordings())
        if (path.stem() == stem)
            return path;
    throw std::runtime_error("no recording " + std::string(stem));
}

/// Those of a 2.x server.
inline std::vector<std::filesystem::path> recordings_of_2() {
    std::vector<std::filesystem::path> all;
    for (const auto& entry : std::filesystem::directory_iterator(data_folder() / "opencode2"))
        if (entry.path().extension() == ".sse")
            all.push_back(entry.path());
    std::sort(all.begin(), all.end());
    return all;
}

/// The data of each event, as it stands on the stream.
inline std::vector<std::string> recorded_data(const std::filesystem::path& path) {
    const auto bytes = read_file(path);
    std::vector<std::string> all;
    sse::parser parser;
    for (std::string_view in = bytes; parser.next(in);)
        all.emplace_back(parser.event().data);
    return all;
}

/// The events, unwrapped and without twins.
inline std::vector<opencode::event> recorded_events(const std::filesystem::path& path) {
    std::vector<opencode::event> all;
    for (const auto& data : recorded_data(path)) {
        const auto head = opencode::peek(data);
        if (head.type.empty() || head.sync_twin)
            continue;
        if (auto e = opencode::parse_event(head.body))
            all.push_back(std::move(*e));
    }
    return all;
}

/// What REST says of one root session, folded from its events: the text of a part that runs is "" there, and
/// so it stays for a part that was thrown away.
class rest_model {
public:
    explicit rest_model(std::string root) : root_(std::move(root)) {}

    void apply(const opencode::event& e) {
        using namespace opencode;
        if (const auto* s = std::get_if<session_created>(&e); s && s->info.parent_id == root_)
            said_.children.push_back(s->info);
        if (const auto* a = std::get_if<permission_asked>(&e))
            said_.permissions.push_back(a->request);
        if (const auto* a = std::get_if<question_asked>(&e))
            said_.questions.push_back(a->request);
        if (const auto* a = std::get_if<permission_replied>(&e))
            std::erase_if(said_.permissions, [&](const auto& r) { return r.id == a->request_id; });
        if (const auto* a = std::get_if<question_answered>(&e))
            std::erase_if(said_.questions, [&](const auto& r) { return r.id == a->request_id; });
        if (session_of(e) != root_)
            return;
        if (std::holds_alternative<session_deleted>(e))
            said_.session_known = false;
        if (const auto* s = std::get_if<status_changed>(&e))
            said_.status = s->status;
        if (const auto* m = std::get_if<message_updated>(&e))
            of(m->info.id).info = m->info;
        if (const auto* p = std::get_if<part_updated>(&e)) {
            auto stored = p->part;
            if (!stored.ended && of(stored.message_id).info.assistant)
                stored.text.clear();
            auto& parts = of(stored.message_id).parts;
            const auto known =
                std::find_if(parts.begin(), parts.end(), [&](const part& q) { return q.id == stored.id; });
            if (known == parts.end())
                parts.push_back(stored);
            else
                *known = stored;
        }
    }

    [[nodiscard]] const opencode::snapshot& now() const { return said_; }

private:
    opencode::message& of(const std::string& id) {
        for (auto& m : said_.messages)
            if (m.info.id == id)
                return m;
        said_.messages.emplace_back();
        said_.messages.back().info.id = id;
        return said_.messages.back();
    }

    std::string root_;
    opencode::snapshot said_;
};

} // namespace holdfast::test
