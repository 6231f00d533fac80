"use strict";
const root = document.getElementById("docs");
SwaggerUIBundle({
  url: new URL(root.dataset.document, location.href).href,
  domNode: root,
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null,
  tryItOutEnabled: false,
});
