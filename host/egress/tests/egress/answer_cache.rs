//! A question that was answered is not asked again, whoever asks at the same time.
