import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

extension DsmClient {
    /// Sound as it comes, and its words as they become known. By http and https only: URLSession
    /// knows no websockets through a socket in the file system.
    public func live() async throws -> Live {
        guard let web = transport as? WebTransport,
            var address = URLComponents(url: web.base, resolvingAgainstBaseURL: false)
        else { throw DsmError.address("of a socket in the file system") }
        address.scheme = address.scheme == "https" ? "wss" : "ws"
        address.path += "/v1/realtime"
        address.queryItems = [URLQueryItem(name: "intent", value: "transcription")]
        var request = URLRequest(url: address.url!)
        if let key { request.setValue("Bearer \(key)", forHTTPHeaderField: "Authorization") }
        #if canImport(FoundationNetworking)
            // Foundation on Linux asks for a connection that is kept, and not upgraded.
            request.setValue("Upgrade", forHTTPHeaderField: "Connection")
        #endif
        return try await Live(URLSession.shared.webSocketTask(with: request))
    }
}

/// A live transcription. `hear` from one task, `words` in another, `finish` at the end.
public final class Live {
    private let socket: URLSessionWebSocketTask

    init(_ socket: URLSessionWebSocketTask) async throws {
        self.socket = socket
        socket.resume()
        let wanted: [String: Any] = [
            "type": "transcription", "audio": ["input": ["turn_detection": NSNull()]],
        ]
        try await send(["type": "session.update", "session": wanted])  // before any sound
    }

    /// Sound that follows what was heard: mono samples from -1 to 1, 24000 a second.
    public func hear(_ samples: [Float]) async throws {
        var data = Data(capacity: 2 * samples.count)
        for sample in samples {
            let value = Int16((max(-1, min(1, sample)) * 32767).rounded())
            withUnsafeBytes(of: value.littleEndian) { data.append(contentsOf: $0) }
        }
        try await send([
            "type": "input_audio_buffer.append", "audio": data.base64EncodedString(),
        ])
    }

    /// No more sound comes: `words` ends when all that was said is known.
    public func finish() async throws {
        try await send(["type": "input_audio_buffer.commit"])
    }

    /// Texts that are put one after the other.
    public func words() -> AsyncThrowingStream<String, Error> {
        AsyncThrowingStream { words in
            let reading = Task {
                do {
                    while let text = try await next() {
                        words.yield(text)
                    }
                    socket.cancel(with: .normalClosure, reason: nil)
                    words.finish()
                } catch {
                    words.finish(throwing: error)
                }
            }
            words.onTermination = { _ in reading.cancel() }
        }
    }

    /// The next text; nil at the end.
    private func next() async throws -> String? {
        while true {
            guard case .string(let text) = try await receive(),
                let event = try JSONSerialization.jsonObject(with: Data(text.utf8))
                    as? [String: Any], let type = event["type"] as? String
            else { throw DsmError.stranger("it sends no JSON") }
            switch type {
            case "conversation.item.input_audio_transcription.delta":
                if let delta = event["delta"] as? String { return delta }
            case "conversation.item.input_audio_transcription.completed":
                return nil
            case "error":
                let error = event["error"] as? [String: Any]
                throw DsmError.refused(101, error?["message"] as? String ?? "an error")
            default:
                continue
            }
        }
    }

    private func receive() async throws -> URLSessionWebSocketTask.Message {
        do {
            return try await socket.receive()
        } catch {
            throw DsmError.connection(error.localizedDescription)
        }
    }

    private func send(_ event: [String: Any]) async throws {
        let data = try JSONSerialization.data(withJSONObject: event)
        do {
            try await socket.send(.string(String(decoding: data, as: UTF8.self)))
        } catch {
            throw DsmError.connection(error.localizedDescription)
        }
    }
}
